/**
 * A terminal that a command runs on.
 *
 * @module
 */

import { ROOT } from "./commands.ts";
import { until } from "./wait.ts";

/** A pseudo-terminal, made by socat, and a command that leads the session on it. */
export class Terminal implements AsyncDisposable {
  /** What has been shown so far. */
  text = "";

  readonly #script: string;
  readonly #socat: Deno.ChildProcess;
  readonly #typed: WritableStreamDefaultWriter<Uint8Array>;
  readonly #shown: Promise<void>;

  /**
   * Opens it.
   *
   * @param script What sh runs on it.
   */
  constructor(script: string) {
    this.#script = Deno.makeTempFileSync({ suffix: ".sh" }); // socat has quotes of its own
    Deno.writeTextFileSync(this.#script, script);
    const args = ["-", `EXEC:sh ${this.#script},pty,setsid,ctty,stderr`];
    this.#socat = new Deno.Command("socat", { args, cwd: ROOT, stdin: "piped", stdout: "piped", stderr: "null" })
      .spawn();
    this.#typed = this.#socat.stdin.getWriter();
    this.#shown = this.#read();
  }

  /** Types. */
  async type(text: string): Promise<void> {
    await this.#typed.write(new TextEncoder().encode(text));
  }

  /** Waits until it shows something. */
  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    try {
      await until(() => pattern.test(this.text));
    } catch (cause) {
      throw new Error(`the terminal does not show ${pattern}, but:\n${this.text}`, { cause });
    }
    const match = pattern.exec(this.text);
    if (match === null) throw new Error("the terminal does not show it any more");
    return match;
  }

  /** Reads nothing of what is shown from now on, so that writes to it block once it is full. */
  stopReading(): void {
    this.#socat.kill("SIGSTOP");
  }

  /** Closes it, as a window is closed or a connection is lost: the processes on it are sent SIGHUP. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#socat.kill("SIGKILL");
    } catch {
      // Its command has exited, and so has socat.
    }
    await this.#socat.status;
    await this.#shown;
    await this.#typed.close().catch(() => {});
    await Deno.remove(this.#script).catch(() => {}); // may be disposed of twice
  }

  async #read(): Promise<void> {
    for await (const text of this.#socat.stdout.pipeThrough(new TextDecoderStream())) this.text += text;
  }
}
