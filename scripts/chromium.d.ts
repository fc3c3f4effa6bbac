/** Path of a Chromium, or undefined. */
export declare function findChromium(): string | undefined;
/** Path of a Chromium, installed if need be; throws if there is none. */
export declare function requireChromium(): string;
