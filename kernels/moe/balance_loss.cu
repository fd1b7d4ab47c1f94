// The balance loss of a pass whose tokens are part of a larger step.
//
// The problem: the loads of the step are known only outside the pass, the mean probabilities only inside it. The work is a few
// thousand additions at most. The choice: one warp, which adds in the order in which gate_finish does, so that without other loads the
// result has the bits of the gate's own loss.
#include "moe/router.cuh"

// loads, other_loads, step_loads [C]; probability_sums [C]; loss [1]. One warp.
extern "C" __global__ void __launch_bounds__(32) balance_loss(
    const int* loads, const int* other_loads, const float* probability_sums, int* step_loads, float* loss, int tokens, int experts,
    int columns, int average, int shared_logit, NULL_GROUP_PARAMETERS) {
    const NullGroups nulls = NULL_GROUPS;
    BalanceSum balance;
    for (int c = threadIdx.x; c < columns; c += 32) {
        const int load = loads[c] + other_loads[c];
        step_loads[c] = load;
        balance.add(nulls, c, load, probability_sums[c], experts, average, shared_logit);
    }
    const float result = balance.loss(nulls, experts, tokens);
    if (threadIdx.x == 0) {
        *loss = result;
    }
}
