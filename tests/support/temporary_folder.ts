/**
 * Folders that are removed after the test.
 *
 * @module
 */

/** A temporary folder, removed with all that is in it when it is disposed of. */
export class TemporaryFolder implements Disposable {
  /** Its path. */
  readonly path: string;

  /** @param prefix What its name begins with. */
  constructor(prefix: string = "echo-server-") {
    this.path = Deno.makeTempDirSync({ prefix });
  }

  /** Removes it. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
