// The floor: accept, read to EOF, write, close, and nothing else. No log, no limits, and callbacks instead of async
// functions. No server that is written as a Deno script can cost less.
// Run: deno run --allow-net floor.ts PORT

type Chunk = Uint8Array<ArrayBuffer>;

/**
 * Clients in flight from which on one is accepted for each that ends, or else one per event-loop iteration: Deno serves 128
 * ready reads at a time, and of those beyond the last come first. See "Which clients wait" in `../README.md`.
 */
const ACCEPT_BRAKE_CLIENTS = 64;

/** Free chunks: of 4 KiB for the first of a message, of 64 KiB for the second, of 1 MiB from the third on. */
const kept = [4096, 65_536, 1_048_576].map((size) => ({ size, chunks: [] as Chunk[] }));
const largest = kept[2]!;

const ended: Client[] = []; // reused with their callbacks
let inFlight = 0;
let hasEnded = false; // since the last accept

class Client {
  #conn!: Deno.Conn;
  #chunks: Chunk[] = [];
  #filled = 0; // bytes in the last chunk
  #sent = 0; // chunks
  #rest!: Chunk; // of the chunk that is being sent

  serve(conn: Deno.Conn): void {
    this.#conn = conn;
    this.#read(this.#newChunk());
  }

  #newChunk(): Chunk {
    const { size, chunks } = kept[this.#chunks.length] ?? largest;
    const chunk = chunks.pop() ?? new Uint8Array(size);
    this.#chunks.push(chunk);
    this.#filled = 0;
    return chunk;
  }

  #read(writable: Chunk): void {
    this.#conn.read(writable).then(this.#onRead, this.#onError);
  }

  #onRead = (bytes: number | null): void => {
    const last = this.#chunks.at(-1)!;
    if (bytes === null) return this.#send();
    this.#filled += bytes;
    this.#read(this.#filled < last.length ? last.subarray(this.#filled) : this.#newChunk());
  };

  #send(): void {
    const chunk = this.#chunks[this.#sent]!;
    this.#write(this.#sent < this.#chunks.length - 1 ? chunk : chunk.subarray(0, this.#filled));
  }

  #write(rest: Chunk): void {
    this.#rest = rest;
    this.#conn.write(rest).then(this.#onWritten, this.#onError);
  }

  #onWritten = (bytes: number): void => {
    if (bytes < this.#rest.length) this.#write(this.#rest.subarray(bytes));
    else if (++this.#sent < this.#chunks.length) this.#send();
    else this.#end();
  };

  #onError = (error: unknown): void => {
    console.error(error);
    this.#end();
  };

  #end(): void {
    this.#conn.close();
    this.#chunks.forEach((chunk, i) => (kept[i] ?? largest).chunks.push(chunk));
    this.#chunks.length = this.#sent = 0;
    ended.push(this);
    inFlight--;
    hasEnded = true;
  }
}

const listener = Deno.listen({ port: Number(Deno.args[0]), tcpBacklog: 4096 });
accept();

function accept(): void {
  listener.accept().then(onAccept, console.error);
}

function onAccept(conn: Deno.Conn): void {
  (ended.pop() ?? new Client()).serve(conn);
  if (++inFlight < ACCEPT_BRAKE_CLIENTS || hasEnded) accept();
  else setImmediate(accept);
  hasEnded = false;
}
