/** What the programs say to each other, by the first element of the topic. */
export interface Messages {
  reading: { celsius: number; at: Date };
  alarm: { text: string };
}
