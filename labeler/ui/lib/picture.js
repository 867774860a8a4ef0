// An image of the labeler, decoded. If the labeler is offline when the browser requests it, the image is not broken.

import { has } from "./api.js";
import { pause } from "./time.js";

const RETRY_MS = 1000;

/**
 * Fetch and decode the image. True once it can be shown; false if it is missing or damaged; null if it is no longer wanted.
 * @param {HTMLImageElement} image
 * @param {string} url
 * @param {() => boolean} wanted
 */
export async function loadPicture(image, url, wanted) {
  let served = false; // the labeler has the image; it may have been offline when the browser asked
  for (;;) {
    image.src = url;
    try {
      await image.decode();
      return true;
    } catch {
      const there = await has(url);
      if (there === false || (there && served)) return false;
      served = there === true;
      if (there === null) await pause(RETRY_MS);
      if (!wanted()) return null;
    }
  }
}
