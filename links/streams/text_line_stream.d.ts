export class TextLineStream extends TransformStream<string, string> {
  constructor(options?: { readonly allowCR?: boolean });
}
