/* The network of inner_loop.py's C loops, two hidden layers of WIDTH units with relu; its gradient; random numbers.

   A sample's units lie side by side, so a product takes whole registers of units and the single numbers of a sample.
   Inputs and outputs are arrays [feature][sample]. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 8
#define VECTORS ((WIDTH + LANES - 1) / LANES)
#define PADDED (VECTORS * LANES)
#define COLUMNS (VECTORS % 2 ? VECTORS : 2)
#define ROWS (10 / COLUMNS) /* ten sums: enough to hide the latency, and they fit into sixteen registers */
#define INLINE static inline __attribute__((always_inline))
#define CHUNK 40 /* samples whose units stay in the first cache while their gradient is taken */

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Mask __attribute__((vector_size(4 * LANES)));
typedef Vector Units[VECTORS];

typedef struct {
    Units w0[INPUTS], b0, w1[PADDED], b1, w2[OUTPUTS];
    float b2[OUTPUTS];
} Network;

static inline Vector where_positive(Vector values, Vector sign) { return (Vector)((Mask)values & (sign > 0)); }

static inline float total(Vector values)
{
    values += __builtin_shuffle(values, (Mask){4, 5, 6, 7, 0, 1, 2, 3});
    values += __builtin_shuffle(values, (Mask){2, 3, 0, 1, 6, 7, 4, 5});
    return values[0] + values[1];
}

/* out[row] = start[row * start_row] + sum over k < size of x[row * x_row + k * x_k] * w[k], for at most ROWS rows. With
   constant numbers, the sums of a block of COLUMNS vectors stay in registers. */
INLINE void few_rows(const Units *start, int start_row, const float *x, int x_row, int x_k, const Units *w, int size,
                     Units *out, int rows)
{
    for (int first = 0; first < VECTORS; first += COLUMNS) {
        Vector sum[ROWS][COLUMNS];
        for (int row = 0; row < rows; row++)
            for (int v = 0; v < COLUMNS; v++)
                sum[row][v] = start[row * start_row][first + v];
        for (int k = 0; k < size; k++)
            for (int row = 0; row < rows; row++)
                for (int v = 0; v < COLUMNS; v++)
                    sum[row][v] += x[row * x_row + k * x_k] * w[k][first + v];
        for (int row = 0; row < rows; row++)
            for (int v = 0; v < COLUMNS; v++)
                out[row][first + v] = sum[row][v];
    }
}

/* The same for any number of rows */
INLINE void product(const Units *start, int start_row, const float *x, int x_row, int x_k, const Units *w, int size,
                    Units *out, int rows)
{
    int row = 0;
    for (; row + ROWS <= rows; row += ROWS)
        few_rows(start + row * start_row, start_row, x + row * x_row, x_row, x_k, w, size, out + row, ROWS);
    for (; row + 2 <= rows; row += 2)
        few_rows(start + row * start_row, start_row, x + row * x_row, x_row, x_k, w, size, out + row, 2);
    if (row < rows)
        few_rows(start + row * start_row, start_row, x + row * x_row, x_row, x_k, w, size, out + row, 1);
}

/* x[i * stride + s] is input i of sample s; out likewise. The units of both layers are kept for the gradient. */
static inline void forward(const Network *net, const float *x, Units *h1, Units *h2, float *out, int samples,
                           int stride)
{
    for (int s = 0; s < samples; s++)
        for (int v = 0; v < VECTORS; v++) {
            Vector sum = net->b0[v];
            for (int i = 0; i < INPUTS; i++)
                sum += x[i * stride + s] * net->w0[i][v];
            h1[s][v] = where_positive(sum, sum);
        }
    product(&net->b1, 0, (const float *)h1, PADDED, 1, net->w1, WIDTH, h2, samples);
    for (int s = 0; s < samples; s++) {
        Vector sums[OUTPUTS] = {{0}};
        for (int v = 0; v < VECTORS; v++) {
            h2[s][v] = where_positive(h2[s][v], h2[s][v]);
            for (int o = 0; o < OUTPUTS; o++)
                sums[o] += h2[s][v] * net->w2[o][v];
        }
        for (int o = 0; o < OUTPUTS; o++)
            out[o * stride + s] = net->b2[o] + total(sums[o]);
    }
}

static inline void transpose(const Units *w, Units *out)
{
    for (int i = 0; i < PADDED; i++)
        for (int j = 0; j < PADDED; j++)
            ((float *)out[j])[i] = ((const float *)w[i])[j];
}

/* Sets the gradient of sum(d out), where d is the derivative by the outputs. */
static void backward(const Network *net, const float *x, const Units *h1, const Units *h2, const float *d, int samples,
                     int stride, Network *gradient)
{
    static Units d1[CHUNK], d2[CHUNK], w1_transposed[PADDED];
    const Units none = {{0}};
    transpose(net->w1, w1_transposed);
    memset(gradient, 0, sizeof *gradient);
    for (int first = 0; first < samples; first += CHUNK, x += CHUNK, d += CHUNK, h1 += CHUNK, h2 += CHUNK) {
        int size = samples - first < CHUNK ? samples - first : CHUNK;
        for (int o = 0; o < OUTPUTS; o++)
            for (int s = 0; s < size; s++)
                gradient->b2[o] += d[o * stride + s];
        for (int v = 0; v < VECTORS; v++)
            for (int s = 0; s < size; s++) {
                Vector sum = {0};
                for (int o = 0; o < OUTPUTS; o++) {
                    sum += d[o * stride + s] * net->w2[o][v];
                    gradient->w2[o][v] += d[o * stride + s] * h2[s][v];
                }
                d2[s][v] = where_positive(sum, h2[s][v]);
                gradient->b1[v] += d2[s][v];
            }
        product(gradient->w1, 1, (const float *)h1, 1, PADDED, d2, size, gradient->w1, PADDED);
        product(&none, 0, (const float *)d2, PADDED, 1, w1_transposed, WIDTH, d1, size);
        for (int v = 0; v < VECTORS; v++)
            for (int s = 0; s < size; s++) {
                Vector masked = where_positive(d1[s][v], h1[s][v]);
                for (int i = 0; i < INPUTS; i++)
                    gradient->w0[i][v] += x[i * stride + s] * masked;
                gradient->b0[v] += masked;
            }
    }
}

static inline void add_scaled(float factor, const void *step, void *to, int size)
{
    for (int i = 0; i < size; i++)
        ((float *)to)[i] += factor * ((const float *)step)[i];
}

/* One step of gradient descent, with a step size for each of w0, b0, w1, b1, w2, b2 */
static void descend(Network *net, const Network *gradient, const float *step_sizes)
{
    add_scaled(-step_sizes[0], gradient->w0, net->w0, INPUTS * PADDED);
    add_scaled(-step_sizes[1], gradient->b0, net->b0, PADDED);
    add_scaled(-step_sizes[2], gradient->w1, net->w1, PADDED * PADDED);
    add_scaled(-step_sizes[3], gradient->b1, net->b1, PADDED);
    add_scaled(-step_sizes[4], gradient->w2, net->w2, OUTPUTS * PADDED);
    add_scaled(-step_sizes[5], gradient->b2, net->b2, OUTPUTS);
}

/* From gamaml's order: the arrays w0, b0, w1, b1, w2, b2, a row per input */
static void load(Network *net, const float *flat)
{
    memset(net, 0, sizeof *net);
    for (int i = 0; i < INPUTS; i++, flat += WIDTH)
        memcpy(net->w0[i], flat, 4 * WIDTH);
    memcpy(net->b0, flat, 4 * WIDTH), flat += WIDTH;
    for (int i = 0; i < WIDTH; i++, flat += WIDTH)
        memcpy(net->w1[i], flat, 4 * WIDTH);
    memcpy(net->b1, flat, 4 * WIDTH), flat += WIDTH;
    for (int i = 0; i < WIDTH; i++)
        for (int o = 0; o < OUTPUTS; o++)
            ((float *)net->w2[o])[i] = *flat++;
    memcpy(net->b2, flat, 4 * OUTPUTS);
}

/* Threefry-2x32 with 20 rounds (Salmon et al. 2011), as in JAX */
static inline void threefry(uint32_t k0, uint32_t k1, uint32_t *x0, uint32_t *x1)
{
    static const int rotations[8] = {13, 15, 26, 6, 17, 29, 16, 24};
    const uint32_t keys[3] = {k0, k1, k0 ^ k1 ^ 0x1BD11BDAu};
    uint32_t a = *x0 + keys[0], b = *x1 + keys[1];
#pragma GCC unroll 5
    for (int group = 0; group < 5; group++) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            int by = rotations[4 * (group % 2) + i];
            a += b;
            b = (b << by | b >> (32 - by)) ^ a;
        }
        a += keys[(group + 1) % 3];
        b += keys[(group + 2) % 3] + group + 1;
    }
    *x0 = a, *x1 = b;
}

/* Above 0 and below 1 */
static inline float fraction(uint32_t bits) { return ((int32_t)(bits >> 8) + 0.5f) * 0x1p-24f; }

/* out[0 .. 2 pairs) = uniform numbers of a stream */
static void uniform(uint32_t seed, uint32_t stream, float *out, int pairs)
{
    for (int i = 0; i < pairs; i++) {
        uint32_t a = i, b = 0;
        threefry(seed, stream, &a, &b);
        out[i] = fraction(a);
        out[pairs + i] = fraction(b);
    }
}

/* out[0 .. 2 pairs) = standard normal numbers of a stream, by Box and Muller 1958 */
static void normal(uint32_t seed, uint32_t stream, float *out, int pairs)
{
    uniform(seed, stream, out, pairs);
    for (int i = 0; i < pairs; i++) {
        float radius = sqrtf(-2 * logf(out[i])), angle = 6.2831853f * out[pairs + i];
        out[i] = radius * sinf(angle + 1.5707963f); /* no cosf: compilers join the two in a call that has no vectors */
        out[pairs + i] = radius * sinf(angle);
    }
}
