/** What brokers that are joined through plain subjects need of a connection to NATS. */
export interface Wire {
  publish(subject: string, bytes: Uint8Array): void;
  /** Subscribes to a subject or a pattern; its packets go where all packets go. */
  subscribe(subject: string): { unsubscribe(): void } | undefined;
  /** Resolves when the server has taken all that was published; rejects when the connection is lost. */
  flush(): Promise<void>;
}
