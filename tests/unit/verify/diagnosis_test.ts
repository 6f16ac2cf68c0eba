import { assertEquals, assertMatch } from "@std/assert";
import type { Name } from "../../../verify/checks.ts";
import type { Outcome } from "../../../verify/client.ts";
import { diagnose, diagnoseConnect } from "../../../verify/diagnosis.ts";

const TIMEOUT = 10;

/** What becomes of five bytes that were sent in full, unless it says otherwise. */
function outcome(changes: Partial<Outcome>): Outcome {
  return { end: "eof", size: 5, sent: 5, halfClosed: true, received: 0, early: 0, ...changes };
}

const SEEN: [Partial<Outcome>, seen: string][] = [
  [{}, "EOF after 0 of 5 bytes"],
  [{ size: 20_000_000, received: 2_885_632 }, "EOF after 2,885,632 of 20,000,000 bytes"],
  [{ sent: 3, halfClosed: false }, "EOF after 0 of 5 bytes, with 3 sent"],
  [{ end: "reset", received: 5 }, "reset after the last byte"],
  [{ end: "reset", received: 2 }, "reset after 2 of 5 bytes"],
  [{ end: "timeout" }, "no byte for 10 s after 0 of 5 bytes"],
  [{ end: "timeout", received: 5 }, "no EOF for 10 s after the last byte"],
  [{ end: "timeout", received: 5, halfClosed: false }, "no byte for 10 s after 5 of 5 bytes, with 5 sent"],
  [{ end: "wrong", received: 5, wrong: { expected: undefined, received: 1 } }, "more than the 5 bytes that were sent"],
  [
    { end: "wrong", size: 99_999, received: 70_000, wrong: { expected: 0x1f, received: 0 } },
    "byte 70,001 differs: sent 0x1f, received 0x00",
  ],
  [{ end: "error", error: new Error("No route to host") }, "No route to host after 0 of 5 bytes"],
];

for (const [changes, seen] of SEEN) {
  Deno.test(`diagnose() says "${seen}"`, () => assertEquals(diagnose(outcome(changes), "small", TIMEOUT).seen, seen));
}

const CAUSES: [what: string, name: Name, Partial<Outcome>, pointsTo: RegExp][] = [
  ["no reply after the half-close", "small", {}, /closes both directions.*proxy_half_close on.*socat: -t 60/],
  ["a reset instead of a reply", "small", { end: "reset" }, /closes both directions/],
  [
    "a reply that was cut while the reader paused",
    "slow-reader",
    { received: 1 },
    /gives up some time after the half-/,
  ],
  ["a reply to a slow reader that ended", "slow-reader", { end: "reset", received: 1 }, /--idle-timeout is below 3 s$/],
  ["a reply that was cut before it was read", "write-first", { received: 1 }, /gives up some time after the half-/],
  ["a reset before the reply was read", "write-first", { end: "reset", received: 1 }, /closes before it has read all/],
  ["a reset after the reply was read", "write-first", { end: "reset", received: 5 }, /closes before it has read all/],
  ["a reply without its end", "small", { received: 4 }, /loses the end/],
  ["a reset after the reply", "small", { end: "reset", received: 5 }, /closes before it has read all/],
  ["other bytes", "sizes", { end: "wrong", wrong: { expected: 1, received: 2 } }, /loses, repeats or changes bytes/],
  ["another client's bytes", "concurrent", { end: "wrong", wrong: { expected: 1, received: 2 } }, /mixes up/],
  ["a header", "small", { end: "wrong", wrong: { expected: 1, received: 0x50 } }, /PROXY protocol/],
  ["a binary header", "small", { end: "wrong", wrong: { expected: 1, received: 0x0d } }, /PROXY protocol/],
  ["silence after the half-close", "small", { end: "timeout" }, /does not forward the half-close/],
  ["silence after a part of the reply", "sizes", { end: "timeout", received: 2 }, /stopped sending/],
  ["a connection that stays open", "small", { end: "timeout", received: 5 }, /does not close/],
  ["a message that is not read", "write-first", { end: "timeout", halfClosed: false, sent: 1 }, /stopped reading/],
  [
    "EOF while the sender paused",
    "slow-sender",
    { halfClosed: false, sent: 2 },
    /--idle-timeout.*proxy_timeout.*timeout client/,
  ],
  ["EOF while it sent", "write-first", { halfClosed: false, sent: 2 }, /limit on the size/],
  ["no reply beside other clients", "concurrent", {}, /so many clients at a time/],
];

for (const [what, name, changes, pointsTo] of CAUSES) {
  Deno.test(`diagnose() says what this points to: ${what}`, () => {
    assertMatch(diagnose(outcome(changes), name, TIMEOUT).pointsTo, pointsTo);
  });
}

Deno.test("diagnoseConnect() has a hint for whatever keeps a client from connecting", () => {
  const { ConnectionRefused, NetworkUnreachable, NotCapable } = Deno.errors;
  const hints: [error: Error, seen: string, pointsTo: RegExp][] = [
    [new ConnectionRefused(), "connection refused", /nothing listens/],
    [new DOMException("", "TimeoutError"), "no answer for 10 s", /firewall/],
    [new NotCapable(), "the permission is missing", /^run again with --allow-net=\[::1\]:4000 before verify\.ts$/],
    [new Error("failed to lookup address information: Name…"), "the name cannot be resolved", /misspelt/],
    [
      Object.assign(new Error("Too many open files (os error 24)"), { code: "EMFILE" }),
      "Too many open files (os error 24)",
      /^this machine's limit of open files \(ulimit -n\)/,
    ],
    [
      new NetworkUnreachable("Network is unreachable (os error 101)"),
      "Network is unreachable (os error 101)",
      /network/,
    ],
  ];
  for (const [error, seen, pointsTo] of hints) {
    const diagnosis = diagnoseConnect(error, { hostname: "::1", port: 4000 }, TIMEOUT);
    assertEquals(diagnosis.seen, seen);
    assertMatch(diagnosis.pointsTo, pointsTo);
  }
});
