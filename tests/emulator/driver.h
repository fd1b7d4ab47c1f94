// The objects behind the driver API's handles.
//
// Work is put on streams and done late: when the host waits for it. Between streams only events order it; whose turn it is is drawn from
// the seed, so a missing wait shows.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "exec.h"
#include "memory.h"

#define EMU_API extern "C" __attribute__((visibility("default")))

using CUresult = int;
enum : CUresult {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_IMAGE = 200,
    CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_NOT_FOUND = 500,
    CUDA_ERROR_NOT_READY = 600,
    CUDA_ERROR_ILLEGAL_ADDRESS = 700,
    CUDA_ERROR_LAUNCH_FAILED = 719,
    CUDA_ERROR_NOT_SUPPORTED = 801,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901,
};

namespace emu {

struct Context;

struct Event {
    Context* context;
    uint64_t recorded = 0;       // records put on streams
    uint64_t done = 0;           // records carried out
    double time = 0;             // milliseconds
};

// One piece of work. `ready` says whether it may be done now (waits for events).
struct Work {
    std::function<bool()> ready;
    std::function<void()> run;
};

struct Graph {
    std::vector<Work> work;
};

struct Stream {
    Context* context;
    std::deque<Work> queue;
    Graph* capture = nullptr;    // while capturing
    bool capture_broken = false;
};

struct Pool {
    Context* context;
    uint64_t used = 0, used_high = 0, reserved = 0, reserved_high = 0, threshold = 0;
};

struct HostBlock {
    uint8_t* base;
    size_t bytes;
};

struct Context {
    std::recursive_mutex lock;
    int device = 0;
    Memory memory;
    Stream main{this, {}, nullptr, false};
    std::vector<Stream*> streams{&main};
    std::vector<HostBlock> pinned;
    std::vector<std::pair<Allocation*, Pool*>> pooled;
    Pool pool{this};
    CUresult sticky = CUDA_SUCCESS;   // a failed kernel spoils the context, as on a device
    uint64_t random = 88172645463325252ull;
};

// The calling thread's context, or null.
Context* current_context();

// The context at hand with its lock taken, or an error that the entry point returns.
struct Entry {
    explicit Entry(Context* context) : context(context) {
        if (context) lock = std::unique_lock(context->lock);
    }
    CUresult error() const { return !context ? CUDA_ERROR_INVALID_CONTEXT : context->sticky; }
    Context* context;
    std::unique_lock<std::recursive_mutex> lock;
};

// Puts work on a stream (or into the graph that the stream captures).
CUresult submit(Stream* stream, Work work);
CUresult submit(Stream* stream, std::function<void()> run);

// Does work of all streams in a drawn order until this one's queue is empty (null: all queues).
CUresult drain(Context* context, Stream* stream);

uint64_t seed();                // of schedules; 0: plain order
Stream* stream_of(Context* context, void* handle);
bool is_capturing(Context* context);

}  // namespace emu
