#include "edge/internal/challenge_page.h"

#include "edge/challenge.h"

namespace leeward::edge {
namespace {

constexpr std::string_view kHead = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>One moment</title>
<style nonce=")html";

constexpr std::string_view kBody = R"html(">
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; padding: 0 1rem; }
</style>
</head>
<body>
<h1>One moment</h1>
<p id="say" role="status">Your browser is being checked. This takes a few seconds.</p>
<noscript><p>This check needs JavaScript. Please switch it on for this site and load the page again.</p></noscript>
<script nonce=")html";

// FIPS 180-4. `question`, `bits` and `path` are in front of it.
constexpr std::string_view kScript = R"html(
const K = Int32Array.of(
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
  ), W = new Int32Array(64);
function compress(h, block, at) {
  for (let i = 0; i < 16; i++, at += 4)
    W[i] = block[at] << 24 | block[at + 1] << 16 | block[at + 2] << 8 | block[at + 3];
  for (let i = 16; i < 64; i++) {
    const x = W[i - 15], y = W[i - 2];
    W[i] = W[i - 16] + W[i - 7] + ((x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3) +
      ((y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10);
  }
  let [a, b, c, d, e, f, g, z] = h;
  for (let i = 0; i < 64; i++) {
    const t = z + ((e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7)) +
      (e & f ^ ~e & g) + K[i] + W[i] | 0;
    const u = ((a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10)) +
      (a & b ^ a & c ^ b & c) | 0;
    z = g; g = f; f = e; e = d + t | 0; d = c; c = b; b = a; a = t + u | 0;
  }
  h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e; h[5] += f; h[6] += g; h[7] += z;
}
const START = Int32Array.of(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);
// The blocks that do not change are compressed once.
const text = new TextEncoder().encode(question + "."), whole = text.length - text.length % 64;
const before = START.slice();
for (let at = 0; at < whole; at += 64) compress(before, text, at);
function works(n) {
  const digits = String(n), size = text.length - whole + digits.length;
  const block = new Uint8Array(size < 56 ? 64 : 128);
  block.set(text.subarray(whole));
  for (let i = 0; i < digits.length; i++) block[text.length - whole + i] = digits.charCodeAt(i);
  block[size] = 128;
  new DataView(block.buffer).setUint32(block.length - 4, (whole + size) * 8);
  const h = before.slice();
  for (let at = 0; at < block.length; at += 64) compress(h, block, at);
  return bits === 0 || (bits <= 32 && h[0] >>> (32 - bits) === 0);
}
function say(words) { document.getElementById("say").textContent = words; }
// Who keeps no cookies would be asked for ever.
function asked_often() {
  const key = "leeward-challenge", now = Date.now();
  try {
    const times = JSON.parse(sessionStorage.getItem(key) || "[]").filter(t => now - t < 60000);
    sessionStorage.setItem(key, JSON.stringify(times.concat(now)));
    return times.length >= 3;
  } catch { return false; }
}
async function send(n) {
  const reply = await fetch(path + "?question=" + question + "&proof=" + n,
    { cache: "no-store", credentials: "same-origin" });
  if (reply.ok) location.reload();
  else say("The check failed. Please load the page again.");
}
let next = 0;
function search() {
  const until = Date.now() + 40;
  do {
    for (let i = 0; i < 500; i++, next++)
      if (works(next)) return send(next).catch(() => say("The site cannot be reached. Please load the page again."));
  } while (Date.now() < until);
  setTimeout(search, 0);
}
if (!navigator.cookieEnabled || asked_often())
  say("This check needs a cookie. Please allow cookies for this site and load the page again.");
else search();
</script>
</body>
</html>
)html";

}  // namespace

std::string challenge_page(std::string_view question, int bits, std::string_view nonce) {
  std::string out;
  out.append(kHead).append(nonce).append(kBody).append(nonce).append("\">\n\"use strict\";\n");
  out.append("const question = \"").append(question).append("\", bits = ");
  out.append(std::to_string(bits)).append(", path = \"").append(Challenge::kPath);
  out.append("\";").append(kScript);
  return out;
}

}  // namespace leeward::edge
