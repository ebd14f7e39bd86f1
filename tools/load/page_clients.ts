/** Clients of a chaos that are in a page of Chromium. */
import { bundle } from "../harness/bundle.ts";
import { Chromium, type Page } from "../harness/chromium.ts";
import { PageServer } from "../harness/page_server.ts";
import type { Report } from "./chaos_client.ts";
import type { PageTask } from "./chaos_page.ts";

/** A client somewhere else. */
export interface Remote {
  /** Its exit status, once it has ended. */
  status(): Promise<number>;
}

/** Clients in a page of a browser, which is started for the first of them. */
export class PageClients implements AsyncDisposable {
  readonly #command: string;
  readonly #resources = new AsyncDisposableStack();
  readonly #onReport: (name: string, report: Report) => void;
  #page: Promise<Page> | undefined;
  #version = "a browser that was not started";

  constructor(command: string, onReport: (name: string, report: Report) => void) {
    this.#command = command;
    this.#onReport = onReport;
  }

  /** Which browser that is. */
  get version(): string {
    return this.#version;
  }

  start(task: PageTask): Remote {
    const ended = this.#run(task).then(() => 0, (error) => {
      console.log(task.name, error);
      return 1;
    });
    return { status: () => ended };
  }

  async #run(task: PageTask): Promise<void> {
    const page = await (this.#page ??= this.#open());
    await page.evaluate(`run(${JSON.stringify(task)})`);
  }

  async #open(): Promise<Page> {
    const script = await bundle(new URL("chaos_page.ts", import.meta.url).pathname);
    const files: Readonly<Record<string, string>> = {
      "/page.html": '<!doctype html><script type="module" src="/page.js"></script>',
      "/page.js": script,
    };
    const server = this.#resources.use(new PageServer((path) => files[path]));
    const browser = this.#resources.use(await Chromium.start(this.#command));
    this.#version = browser.version;
    return await browser.open(`${server.origin()}/page.html`, {
      onLine: (line) => {
        if (!line.startsWith("{")) return console.log(line);
        const { name, report } = JSON.parse(line);
        this.#onReport(name, report);
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }
}
