// The types of the labeler's answers, with the fields that the pages use. `docs/reference/api.md` lists all fields.

/**
 * @typedef {{ value: number, low: number, high: number, n: number }} Interval
 * @typedef {{ id: number, name: string, labels?: number, colour?: string | null, hotkey?: string | null,
 *   own_hotkey?: boolean, description?: string | null }} ClassEntry
 * @typedef {{ label: number, name: string, confidence: number, chosen?: boolean | null }} Suggestion `chosen`: above its class's
 *   threshold, where an image may have several classes
 * @typedef {{ yes: number[], no: number[], merge?: boolean }} Classes what a person says of several classes; of those in
 *   neither, nothing. `merge`: earlier answers for them are kept
 * @typedef {{ label: number, name: string, confidence: number, x: number, y: number, w: number, h: number }} SuggestedBox in
 *   pixels of the upright original
 * @typedef {{ label?: number | null, answer?: any }} Answered `answer` depends on the task: `Classes`, or boxes as
 *   `boxes/edits.js` has them
 * @typedef {{ done: number, total: number, problems?: number, seconds_left?: number | null, lacks?: string | null, banner?: string | null,
 *   download?: { name: string, done_bytes: number, total_bytes: number } | null }} Embedding
 * @typedef {{ running: boolean, done: number, total: number | null, seconds_left?: number | null, error?: string | null }} Scanning
 */

/**
 * The project as returned by `GET /api/project`, updated by later events.
 * @typedef {object} Project
 * @property {string} [log_id]
 * @property {number} last_seq
 * @property {number} query_version
 * @property {{ total: number, labeled: number }} images
 * @property {number} [rejected] files that cannot be used
 * @property {ClassEntry[]} classes
 * @property {Scanning} scanning
 * @property {Embedding | null} [embedding]
 * @property {Record<string, { total: number }>} [splits]
 * @property {Interval | null} [accuracy]
 * @property {Interval | null} [macro_f1] shown where images have several classes
 * @property {Interval | null} [map_50] where boxes are drawn
 * @property {number | null} labels_per_minute
 * @property {{ name: string, per_minute: number }[]} people
 * @property {boolean} blind_mode
 * @property {string} [task]
 * @property {boolean} [preselect_suggestions] the card begins with the suggested classes switched on
 * @property {{ accuracy: number | null, labels: number, minutes: number | null } | null} [target]
 * @property {Record<string, unknown>} [marks] only in pushed news
 * @property {any} trainer
 * @property {any} outbox
 * @property {any} [challenger]
 * @property {any} [disk]
 */

/**
 * An image that the queue asks about.
 * @typedef {object} Item
 * @property {number} image_id
 * @property {string} url
 * @property {string} [uri]
 * @property {string} purpose
 * @property {string | null} [reason]
 * @property {Suggestion[]} suggestions
 * @property {SuggestedBox[]} [boxes] that the model suggests
 * @property {number | null} [width] of the upright original, in pixels, where boxes are drawn
 * @property {number | null} [height]
 * @property {number} query_version
 */

/**
 * An answer as sent to the labeler.
 * @typedef {{ id: string, image_id: number, action: string, label?: number | null, annotator: string, session?: string,
 *   [more: string]: unknown }} Annotation
 */

export {};
