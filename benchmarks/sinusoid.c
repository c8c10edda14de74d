/* The inner loop of gamaml's task "sinusoid", for inner_loop.py.

   Compiled with WIDTH, TASKS, SHOTS, QUERY and ROUNDS. */

#define INPUTS 1
#define OUTPUTS 1
#include "network.h"

#define POINTS (SHOTS + QUERY)

/* Returns the mean squared error at n points of a task (amplitude, phase), and its derivative by the outputs. */
static float error(const Network *net, const float *task, const float *x, int n, Units *h1, Units *h2, float *d)
{
    float sum = 0;
    forward(net, x, h1, h2, d, n, n);
    for (int i = 0; i < n; i++) {
        float difference = d[i] - task[0] * sinf(x[i] - task[1]);
        sum += difference * difference;
        d[i] = 2 * difference / n;
    }
    return sum / n;
}

/* Evaluates a network on tasks[TASKS][2], amplitude and phase, at points[TASKS][SHOTS + QUERY], or where these are
   NULL, draws them by a seed. losses[ROUNDS + 1] are means over tasks. */
void evaluate(const float *flat, const float *step_sizes, uint32_t seed, const float *tasks, const float *points,
              float *losses)
{
    static Network initial, net, gradient;
    static Units h1[POINTS], h2[POINTS];
    static float own_tasks[2 * TASKS], own_points[TASKS * POINTS + 1], d[POINTS];
    if (!tasks) {
        uniform(seed, 0, own_tasks, TASKS);
        uniform(seed, 1, own_points, (TASKS * POINTS + 1) / 2);
        for (int i = 0; i < TASKS; i++) {
            own_tasks[2 * i] = 0.1f + 4.9f * own_tasks[2 * i];
            own_tasks[2 * i + 1] *= 3.1415927f;
        }
        for (int i = 0; i < TASKS * POINTS; i++)
            own_points[i] = 10 * own_points[i] - 5;
        tasks = own_tasks, points = own_points;
    }
    load(&initial, flat);
    memset(losses, 0, 4 * (ROUNDS + 1));
    for (int i = 0; i < TASKS; i++) {
        const float *task = tasks + 2 * i, *x = points + i * POINTS;
        net = initial;
        for (int round = 0; round <= ROUNDS; round++) {
            losses[round] += error(&net, task, x + SHOTS, QUERY, h1, h2, d) / TASKS;
            if (round == ROUNDS)
                break;
            error(&net, task, x, SHOTS, h1, h2, d);
            backward(&net, x, h1, h2, d, SHOTS, SHOTS, &gradient);
            descend(&net, &gradient, step_sizes);
        }
    }
}
