/** A connection to NATS, as far as brokers need it that are joined through plain subjects. */
export interface Wire {
  publish(subject: string, bytes: Uint8Array): void;
  /** Hears a subject or a pattern; each packet goes where all packets go. */
  subscribe(subject: string): { unsubscribe(): void } | undefined;
  /** Resolves when the server has taken all that was published; rejects when the connection is lost. */
  flush(): Promise<void>;
}
