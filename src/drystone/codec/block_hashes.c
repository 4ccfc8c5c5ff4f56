/* Keyed BLAKE3 of many blocks of 4,096 bytes, as many chunks at a time as the processor has lanes.
 *
 * The library `blake3` hashes one input after the other: with four chunks each, a block fills a quarter of a wide
 * register, and each call lets go of the interpreter and asks for it again. Here the lanes are chunks of several
 * blocks, and one call does all. The result is the same, bit for bit; `drystone.codec.native` makes sure of that
 * before it uses this.
 *
 * Source: the BLAKE3 specification (compression function 2.2, chunks 2.4, tree 2.5, keyed hashing).
 */
#include <stddef.h>
#include <stdint.h>

/* No header and no start-up code of a C library is needed: the compiler alone builds this. */
#define memcpy __builtin_memcpy

#define BLOCK_BYTES 4096
#define CHUNK_BYTES 1024
#define CHUNKS 4 /* of a block */
#define PIECE_BYTES 64 /* what one compression takes */
#define HASH_BYTES 16

enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8, KEYED_HASH = 16 };

static const uint32_t IV[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                               0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};

#define ROTATED(x, n) (((x) >> (n)) | ((x) << (32 - (n))))

#define G(a, b, c, d, x, y)        \
  do {                             \
    v[a] += v[b] + m[x];           \
    v[d] = ROTATED(v[d] ^ v[a], 16); \
    v[c] += v[d];                  \
    v[b] = ROTATED(v[b] ^ v[c], 12); \
    v[a] += v[b] + m[y];           \
    v[d] = ROTATED(v[d] ^ v[a], 8); \
    v[c] += v[d];                  \
    v[b] = ROTATED(v[b] ^ v[c], 7); \
  } while (0)

/* One round; the arguments are the order in which it takes the words of the message. */
#define ROUND(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15) \
  do {                                                                              \
    G(0, 4, 8, 12, m0, m1);                                                         \
    G(1, 5, 9, 13, m2, m3);                                                         \
    G(2, 6, 10, 14, m4, m5);                                                        \
    G(3, 7, 11, 15, m6, m7);                                                        \
    G(0, 5, 10, 15, m8, m9);                                                        \
    G(1, 6, 11, 12, m10, m11);                                                      \
    G(2, 7, 8, 13, m12, m13);                                                       \
    G(3, 4, 9, 14, m14, m15);                                                       \
  } while (0)

/* The seven rounds: each takes the words as the permutation of the specification leaves them. */
#define ROUNDS()                                                      \
  do {                                                                \
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);      \
    ROUND(2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8);      \
    ROUND(3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1);      \
    ROUND(10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6);      \
    ROUND(12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4);      \
    ROUND(9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7);      \
    ROUND(11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13);      \
  } while (0)

/* The whole for registers of LANES words. COMPRESS makes h of h, the message m, the counters and flags; all lanes
 * have the same flags. Blocks are taken in groups of LANES: four passes over chunks, two over their parents, one over
 * the roots. Lanes that are left over repeat the last chunk, and nobody looks at what they give. */
#define DEFINE_HASHES(NAME, TARGET, LANES, ...)                                                                   \
  typedef uint32_t NAME##_vector __attribute__((vector_size(4 * LANES)));                                        \
  TARGET static void NAME(const uint32_t key[8], const uint8_t *data, size_t blocks, uint8_t *out) {             \
    typedef NAME##_vector vector;                                                                                \
    static const uint32_t low_order[LANES] = {__VA_ARGS__};                                                      \
    static const uint32_t none[LANES];                                                                           \
    uint32_t values[8][CHUNKS * LANES]; /* chaining values: word by word, chunk by chunk */                      \
    uint32_t parents[8][2 * LANES];                                                                              \
    vector low, v[16], m[16], h[8], zeros;                                                                       \
    memcpy(&low, low_order, sizeof low);                                                                         \
    memcpy(&zeros, none, sizeof zeros);                                                                          \
    const vector high = low + LANES / 2;                                                                         \
    for (size_t group = 0; group < blocks; group += LANES) {                                                     \
      const size_t here = blocks - group < LANES ? blocks - group : LANES;                                       \
      for (size_t pass = 0; pass < CHUNKS * here; pass += LANES) {                                               \
        const uint8_t *lane[LANES];                                                                              \
        vector counter = zeros;                                                                                  \
        for (size_t i = 0; i < LANES; i++) {                                                                     \
          const size_t chunk = pass + i < CHUNKS * here ? pass + i : CHUNKS * here - 1;                          \
          lane[i] = data + group * BLOCK_BYTES + chunk * CHUNK_BYTES;                                            \
          counter[i] = chunk % CHUNKS;                                                                           \
        }                                                                                                        \
        for (int w = 0; w < 8; w++) h[w] = zeros + key[w];                                                       \
        for (size_t at = 0; at < CHUNK_BYTES; at += PIECE_BYTES) {                                               \
          const uint32_t flags = KEYED_HASH | (at == 0 ? CHUNK_START : 0) |                                      \
                                 (at == CHUNK_BYTES - PIECE_BYTES ? CHUNK_END : 0);                              \
          for (size_t part = 0; part < 16; part += LANES) {                                                      \
            vector rows[LANES], next[LANES];                                                                     \
            for (int i = 0; i < LANES; i++) memcpy(&rows[i], lane[i] + at + 4 * part, sizeof rows[i]);           \
            /* From rows of lanes to rows of words: shuffling log2(LANES) times transposes. */                   \
            for (int step = 1; step < LANES; step *= 2) {                                                        \
              for (int i = 0; i < LANES / 2; i++) {                                                              \
                next[2 * i] = __builtin_shuffle(rows[i], rows[i + LANES / 2], low);                              \
                next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + LANES / 2], high);                         \
              }                                                                                                  \
              memcpy(rows, next, sizeof rows);                                                                   \
            }                                                                                                    \
            for (int i = 0; i < LANES; i++) m[part + i] = rows[i];                                               \
          }                                                                                                      \
          COMPRESS(counter, flags);                                                                              \
        }                                                                                                        \
        for (int w = 0; w < 8; w++) memcpy(&values[w][pass], &h[w], sizeof h[w]);                                \
      }                                                                                                          \
      for (size_t pass = 0; pass < 2 * here; pass += LANES) {                                                    \
        for (int w = 0; w < 8; w++) {                                                                            \
          for (size_t i = 0; i < LANES; i++) {                                                                   \
            const size_t parent = pass + i < 2 * here ? pass + i : 2 * here - 1;                                 \
            m[w][i] = values[w][2 * parent];                                                                     \
            m[8 + w][i] = values[w][2 * parent + 1];                                                             \
          }                                                                                                      \
          h[w] = zeros + key[w];                                                                                 \
        }                                                                                                        \
        COMPRESS(zeros, KEYED_HASH | PARENT);                                                                    \
        for (int w = 0; w < 8; w++) memcpy(&parents[w][pass], &h[w], sizeof h[w]);                               \
      }                                                                                                          \
      for (int w = 0; w < 8; w++) {                                                                              \
        for (size_t i = 0; i < LANES; i++) {                                                                     \
          const size_t root = i < here ? i : here - 1;                                                           \
          m[w][i] = parents[w][2 * root];                                                                        \
          m[8 + w][i] = parents[w][2 * root + 1];                                                                \
        }                                                                                                        \
        h[w] = zeros + key[w];                                                                                   \
      }                                                                                                          \
      COMPRESS(zeros, KEYED_HASH | PARENT | ROOT);                                                               \
      for (size_t i = 0; i < here; i++) {                                                                        \
        for (int w = 0; w < HASH_BYTES / 4; w++) {                                                               \
          const uint32_t word = h[w][i];                                                                         \
          memcpy(out + (group + i) * HASH_BYTES + 4 * w, &word, 4);                                              \
        }                                                                                                        \
      }                                                                                                          \
    }                                                                                                            \
  }

#define COMPRESS(counter, flags)                              \
  do {                                                        \
    for (int w = 0; w < 8; w++) v[w] = h[w];                  \
    for (int w = 0; w < 4; w++) v[8 + w] = zeros + IV[w];     \
    v[12] = (counter);                                        \
    v[13] = zeros;                                            \
    v[14] = zeros + PIECE_BYTES;                              \
    v[15] = zeros + (uint32_t)(flags);                        \
    ROUNDS();                                                 \
    for (int w = 0; w < 8; w++) h[w] = v[w] ^ v[w + 8];       \
  } while (0)

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words of the message are little-endian"
#endif

#ifdef __x86_64__
DEFINE_HASHES(hashes_512, __attribute__((target("avx512f,avx512vl,avx512bw"))), 16, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20,
              5, 21, 6, 22, 7, 23)
DEFINE_HASHES(hashes_256, __attribute__((target("avx2"))), 8, 0, 8, 1, 9, 2, 10, 3, 11)

/* How many lanes this processor is best used with; 0: none of what is here. */
int drystone_lanes(void) {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    return 16;
  return __builtin_cpu_supports("avx2") ? 8 : 0;
}

/* Write the 16-byte hashes of `blocks` consecutive blocks to `out`; `lanes` is 8 or 16, and no more than
 * `drystone_lanes()`. */
void drystone_block_hashes(int lanes, const uint8_t key[32], const uint8_t *data, size_t blocks, uint8_t *out) {
  uint32_t words[8];
  memcpy(words, key, sizeof words);
  if (lanes == 16) {
    hashes_512(words, data, blocks, out);
  } else {
    hashes_256(words, data, blocks, out);
  }
}
#else
int drystone_lanes(void) { return 0; }

void drystone_block_hashes(int lanes, const uint8_t key[32], const uint8_t *data, size_t blocks, uint8_t *out) {
  (void)lanes, (void)key, (void)data, (void)blocks, (void)out;
}
#endif
