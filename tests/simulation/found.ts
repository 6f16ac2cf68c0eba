/**
 * Histories that once found something.
 *
 * @module
 */

/** What was found, and the history. */
export const FOUND: [what: string, history: string][] = [
  [
    "an accept that failed after the close was tried again 100 ms later",
    "326797440,1690006520,1495805563,1884583310,2421935320,344237530,0",
  ],
  [
    "one could join in the turn in which everybody was dropped",
    "913736526,2826567680,2206208924,0,1075136574",
  ],
  [
    "what told how many reports had been dropped was dropped itself",
    "2173380509,3021078528,3114279164,0,2299294194",
  ],
];
