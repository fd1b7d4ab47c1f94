// One MoE layer in ggml, the tensor library of llama.cpp: a worker that measures what it is told to on standard input.
//
// The problem: llama.cpp is what people run MoE models with on a processor, and its own benchmark knows other shapes and no whole layer. The
// choice: the graph that it builds for such a layer (gate, up and down as MUL_MAT_ID, SwiGLU, weighted sum of the slots) with the inputs of
// moe_torch.py and its protocol: one line of JSON per line of JSON. ggml has no null slots and no gradients of these products: forward at rho = 1.
//
// Activations are float32 and weights have the type of the case, as in a llama.cpp model of that type; compare.py builds this file against a ggml
// that is on the machine.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "ggml-cpu.h"
#include "ggml.h"

namespace {

constexpr int samples = 4096, shown = 256;

uint32_t mix(uint64_t index, uint32_t seed) {
    uint32_t x = static_cast<uint32_t>(index) * 0x9E3779B1u + seed * 0x85EBCA6Bu;
    x ^= x >> 15;
    x *= 0x2C1B3C6Du;
    x ^= x >> 12;
    x *= 0x297A2D39u;
    return x ^ (x >> 15);
}

float number(uint32_t seed, uint64_t index) { return static_cast<float>(mix(index, seed) >> 8) / (1 << 24) - 0.5f; }

// Value of a key in one flat object; the requests hold nothing else.
std::string field(const std::string & line, const std::string & key) {
    const size_t at = line.find("\"" + key + "\":");
    if (at == std::string::npos) {
        throw std::runtime_error("the request has no " + key + ": " + line);
    }
    size_t from = line.find_first_not_of(" \"", at + key.size() + 3), to = line.find_first_of(",\"}", from);
    return line.substr(from, to - from);
}

int whole(const std::string & line, const std::string & key) { return std::stoi(field(line, key)); }

std::string text(double value) {
    char digits[32];
    snprintf(digits, sizeof digits, "%.9g", value);
    return digits;
}

// Memory of tensors: ggml takes it from one block.
struct Arena {
    ggml_context * context;

    explicit Arena(size_t bytes) {
        context = ggml_init({bytes + (size_t) 64 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, false});
        if (!context) {
            throw std::runtime_error("no memory for " + std::to_string(bytes >> 20) + " MiB");
        }
    }
    Arena(const Arena &) = delete;
    ~Arena() { ggml_free(context); }
};

void fill(ggml_tensor * tensor, uint32_t seed, float scale, int64_t experts, int64_t rows, int64_t first, int64_t stacked) {
    // Rows first .. first + rows of every expert, of which the stacked weights have `stacked`.
    const int64_t width = tensor->ne[0];
    std::vector<float> row(width);
    for (int64_t e = 0; e < experts; e++) {
        for (int64_t r = 0; r < rows; r++) {
            const uint64_t start = (uint64_t) ((e * stacked + first + r) * width);
            for (int64_t i = 0; i < width; i++) {
                row[i] = number(seed, start + i) * scale;
            }
            char * to = (char *) tensor->data + e * tensor->nb[2] + r * tensor->nb[1];
            if (tensor->type == GGML_TYPE_BF16) {
                ggml_fp32_to_bf16_row(row.data(), (ggml_bf16_t *) to, width);
            } else {
                memcpy(to, row.data(), width * sizeof(float));
            }
        }
    }
}

struct Weights {
    Arena arena;
    int64_t d, n, experts;
    ggml_type type;
    ggml_tensor *gate, *up, *down;

    Weights(int64_t d, int64_t n, int64_t experts, ggml_type type)
        : arena(3 * (size_t) d * n * experts * ggml_type_size(type)), d(d), n(n), experts(experts), type(type) {
        gate = ggml_new_tensor_3d(arena.context, type, d, n, experts);
        up = ggml_new_tensor_3d(arena.context, type, d, n, experts);
        down = ggml_new_tensor_3d(arena.context, type, n, d, experts);
        fill(gate, 2, (float) (4 / std::sqrt((double) d)), experts, n, 0, 2 * n);
        fill(up, 2, (float) (4 / std::sqrt((double) d)), experts, n, n, 2 * n);
        fill(down, 3, (float) (4 / std::sqrt((double) n)), experts, d, 0, d);
    }
};

struct Layer {
    Arena arena;
    int64_t rows;
    ggml_tensor * out;
    ggml_cgraph * graph;
    ggml_threadpool * pool;
    ggml_cplan plan;
    std::vector<uint8_t> work;

    Layer(const Weights & w, int64_t tokens, int64_t k, int threads) : arena(bytes(w, tokens, k)), rows(tokens * k) {
        ggml_context * c = arena.context;
        ggml_tensor * x = ggml_new_tensor_3d(c, GGML_TYPE_F32, w.d, 1, tokens);
        ggml_tensor * ids = ggml_new_tensor_2d(c, GGML_TYPE_I32, k, tokens);
        ggml_tensor * weights = ggml_new_tensor_3d(c, GGML_TYPE_F32, 1, k, tokens);
        for (int64_t i = 0; i < tokens * w.d; i++) {
            ((float *) x->data)[i] = number(1, i);
        }
        for (int64_t i = 0; i < tokens * k; i++) {
            ((float *) weights->data)[i] = number(7, i) + 1;
        }
        std::vector<int32_t> order(w.experts);
        for (int64_t t = 0; t < tokens; t++) {
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return mix(t * w.experts + a, 5) < mix(t * w.experts + b, 5); });
            memcpy((int32_t *) ids->data + t * k, order.data(), k * sizeof(int32_t));
        }
        ggml_tensor * a = ggml_swiglu_split(c, ggml_mul_mat_id(c, w.gate, x, ids), ggml_mul_mat_id(c, w.up, x, ids));
        ggml_tensor * y = ggml_mul(c, ggml_mul_mat_id(c, w.down, a, ids), weights);
        for (int64_t slot = 0; slot < k; slot++) {
            ggml_tensor * part = ggml_view_2d(c, y, w.d, tokens, y->nb[2], slot * y->nb[1]);
            out = slot == 0 ? part : ggml_add(c, out, part);
        }
        out = ggml_is_contiguous(out) ? out : ggml_cont(c, out);
        graph = ggml_new_graph(c);
        ggml_build_forward_expand(graph, out);
        ggml_threadpool_params parameters = ggml_threadpool_params_default(threads);
        pool = ggml_threadpool_new(&parameters);
        plan = ggml_graph_plan(graph, threads, pool);
        work.resize(plan.work_size);
        plan.work_data = work.data();
    }
    ~Layer() { ggml_threadpool_free(pool); }

    static size_t bytes(const Weights & w, int64_t tokens, int64_t k) {
        return sizeof(float) * (size_t) (tokens * (2 * w.d + 2 * k) + tokens * k * (3 * w.n + 3 * w.d)) + (1 << 20);
    }

    double run(int repeats) {
        const auto start = std::chrono::steady_clock::now();
        for (int i = 0; i < repeats; i++) {
            if (ggml_graph_compute(graph, &plan) != GGML_STATUS_SUCCESS) {
                throw std::runtime_error("ggml_graph_compute failed");
            }
        }
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats;
    }

    std::string picked() const {
        const float * values = (const float *) out->data;
        const uint64_t count = ggml_nelements(out);
        double squares = 0;
        std::string list;
        for (int i = 0; i < samples; i++) {
            const double value = values[mix(i, 8) % count];
            squares += value * value;
            if (i < shown) {
                list += ", " + text(value);
            }
        }
        return "[" + text(std::sqrt(squares / samples)) + list + "]";
    }
};

} // namespace

int main() {
    Weights * weights = nullptr;
    Layer * layer = nullptr;
    std::string line;
    try {
        while (std::getline(std::cin, line)) {
            const std::string command = field(line, "cmd");
            if (command == "quit") {
                break;
            }
            if (command == "hello") {
                printf("{\"name\": \"ggml %s\"}\n", ggml_version());
            } else if (command == "case") {
                delete layer;
                layer = nullptr;
                const int d = whole(line, "d"), n = whole(line, "n"), experts = whole(line, "E");
                const ggml_type type = field(line, "dtype") == "bf16" ? GGML_TYPE_BF16 : GGML_TYPE_F32;
                if (!weights || weights->d != d || weights->n != n || weights->experts != experts || weights->type != type) {
                    delete weights;
                    weights = nullptr;
                    weights = new Weights(d, n, experts, type);
                }
                layer = new Layer(*weights, whole(line, "T"), whole(line, "K"), whole(line, "threads"));
                printf("{\"variants\": [\"ggml\"], \"rows\": %lld}\n", (long long) layer->rows);
            } else if (command == "sample") {
                const double seconds = layer->run(1);
                printf("{\"seconds\": %.9f, \"results\": {\"out\": %s}}\n", seconds, layer->picked().c_str());
            } else if (command == "run") {
                printf("{\"seconds\": %.9f}\n", layer->run(whole(line, "repeats")));
            } else {
                throw std::runtime_error("unknown command " + command);
            }
            fflush(stdout);
        }
    } catch (const std::exception & error) {
        fprintf(stderr, "moe_ggml: %s\n", error.what());
        return 1;
    }
    delete layer;
    delete weights;
    return 0;
}
