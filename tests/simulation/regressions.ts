/**
 * Traces that are hard to find and violate an invariant once a mutation of `mutations/` is applied.
 *
 * @module
 */

/** The mutation, and its trace. When steps are added or reordered, record it again: `simulate` prints it. */
export const REGRESSIONS: [mutation: string, trace: string][] = [
  [
    "acceptor_exhaustion_after_close",
    "326797440,1690006520,1495805563,1884583310,2421935320,2750063890",
  ],
  [
    "log_batch_to_new_file",
    "2634504960,790282240,3576430924,0,959195291",
  ],
  [
    "queue_drops_at_exit",
    "2838475186,2342329152,3941988844,2043802344,1774183246,2625086684,0,163556673,2578730893,1408464376,3089302464," +
    "3932175270,0,0,1578279703,0",
  ],
];
