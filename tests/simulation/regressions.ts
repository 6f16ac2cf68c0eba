/**
 * Traces that are hard to find and violate an invariant once a mutation of `mutations/` is applied.
 *
 * @module
 */

/** The mutation, and its trace. When steps are added or reordered, record it again: `simulate` prints it. */
export const REGRESSIONS: [mutation: string, trace: string][] = [
  ["drain_60_iterations", "2243684736,1717567488,2035410293"],
  ["drain_two_timers", "2578852432,2130792480,432856702,1436396268"],
  ["fair_none", "236603380,1399772320,4181794477"],
  ["log_batch_to_new_file", "4101314121,1214513152,878662674,0,1688316849,1802133740"],
];
