/* The inner loop of gamaml's task "navigation", for inner_loop.py.

   Compiled with WIDTH, TASKS, EPISODES, HORIZON, ROUNDS, and STD and DISCOUNT as float. */

#define INPUTS 2
#define OUTPUTS 2
#include "network.h"

#define SAMPLES (HORIZON * EPISODES)
#define MAX_VELOCITY 0.1f
#define GOAL_DISTANCE 0.01f

typedef struct {
    float observations[2][SAMPLES], means[2][SAMPLES], d[2][SAMPLES];
    float rewards[SAMPLES], alive[SAMPLES], weights[SAMPLES];
    Units h1[SAMPLES], h2[SAMPLES];
} Batch;

static Batch batch;

/* Plays all episodes of one round step by step; returns the mean return. noise[step][dimension][episode]; where no
   update follows, the units of all steps share one place in the cache. */
static float collect(const Network *net, const float *goal, const float *noise, int update_follows)
{
    float x[EPISODES] = {0}, y[EPISODES] = {0}, alive[EPISODES], sum = 0;
    for (int e = 0; e < EPISODES; e++)
        alive[e] = 1;
    for (int t = 0; t < HORIZON; t++, noise += 2 * EPISODES) {
        int first = t * EPISODES, kept = update_follows ? first : 0;
        memcpy(batch.observations[0] + first, x, sizeof x);
        memcpy(batch.observations[1] + first, y, sizeof y);
        memcpy(batch.alive + first, alive, sizeof alive);
        forward(net, batch.observations[0] + first, batch.h1 + kept, batch.h2 + kept, batch.means[0] + first,
                EPISODES, SAMPLES);
        for (int e = 0; e < EPISODES; e++) {
            float dx = fmaxf(-MAX_VELOCITY, fminf(MAX_VELOCITY, batch.means[0][first + e] + STD * noise[e]));
            float dy = fmaxf(-MAX_VELOCITY, fminf(MAX_VELOCITY, batch.means[1][first + e] + STD * noise[EPISODES + e]));
            x[e] += alive[e] * dx;
            y[e] += alive[e] * dy;
            float squared = (x[e] - goal[0]) * (x[e] - goal[0]) + (y[e] - goal[1]) * (y[e] - goal[1]);
            batch.rewards[first + e] = -squared * alive[e];
            sum -= squared * alive[e];
            alive[e] = squared < GOAL_DISTANCE * GOAL_DISTANCE ? 0 : alive[e];
        }
    }
    return sum / EPISODES;
}

/* Normalised rewards-to-go above the mean of the episodes at the same step; returns the number of steps. */
static float weigh(void)
{
    float to_go[EPISODES] = {0}, count = 0, sum = 0, squares = 0;
    for (int t = HORIZON - 1; t >= 0; t--) {
        const float *rewards = batch.rewards + t * EPISODES, *alive = batch.alive + t * EPISODES;
        float *weights = batch.weights + t * EPISODES, number = 0, mean = 0;
        for (int e = 0; e < EPISODES; e++) {
            to_go[e] = rewards[e] + DISCOUNT * to_go[e];
            number += alive[e];
            mean += alive[e] * to_go[e];
        }
        mean /= fmaxf(number, 1);
        count += number;
        for (int e = 0; e < EPISODES; e++) {
            weights[e] = (to_go[e] - mean) * alive[e];
            sum += weights[e];
        }
    }
    for (int s = 0; s < SAMPLES; s++) {
        batch.weights[s] = (batch.weights[s] - sum / count) * batch.alive[s];
        squares += batch.weights[s] * batch.weights[s];
    }
    for (int s = 0; s < SAMPLES; s++)
        batch.weights[s] /= sqrtf(squares / count) + 1e-8f;
    return count;
}

/* One update by the policy gradient */
static void update(Network *net, const float *noise, const float *step_sizes)
{
    static Network gradient;
    float count = weigh();
    for (int t = 0; t < HORIZON; t++)
        for (int o = 0; o < 2; o++)
            for (int e = 0; e < EPISODES; e++)
                batch.d[o][t * EPISODES + e] =
                    -batch.weights[t * EPISODES + e] * noise[(2 * t + o) * EPISODES + e] / (STD * count);
    backward(net, batch.observations[0], batch.h1, batch.h2, batch.d[0], SAMPLES, SAMPLES, &gradient);
    descend(net, &gradient, step_sizes);
}

/* Evaluates a network under goals[TASKS][2] and noise[TASKS][ROUNDS + 1][HORIZON][2][EPISODES], or where these are
   NULL, draws them by a seed. returns[ROUNDS + 1] are means over tasks. */
void evaluate(const float *flat, const float *step_sizes, uint32_t seed, const float *goals, const float *noise,
              float *returns)
{
    static Network initial, net;
    static float own_goals[2 * TASKS], own_noise[2 * SAMPLES];
    if (!goals) {
        uniform(seed, 0, own_goals, TASKS);
        for (int i = 0; i < 2 * TASKS; i++)
            own_goals[i] -= 0.5f;
    }
    load(&initial, flat);
    memset(returns, 0, 4 * (ROUNDS + 1));
    for (int task = 0; task < TASKS; task++) {
        net = initial;
        for (int round = 0; round <= ROUNDS; round++) {
            int index = task * (ROUNDS + 1) + round;
            const float *draws = noise ? noise + 2 * SAMPLES * index : own_noise;
            if (!noise)
                normal(seed, 1 + index, own_noise, SAMPLES);
            returns[round] += collect(&net, (goals ? goals : own_goals) + 2 * task, draws, round < ROUNDS) / TASKS;
            if (round < ROUNDS)
                update(&net, draws, step_sizes);
        }
    }
}
