// Driver API: streams, events, graphs. Work runs when somebody waits for it.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>

#include "driver.h"

using namespace emu;

namespace {

constexpr size_t LONG_QUEUE = 256;

std::atomic<uint64_t> chosen_seed{[] {
    const char* text = std::getenv("MOESHARP_EMULATOR_SEED");
    return text ? std::strtoull(text, nullptr, 10) : 1ull;
}()};

double now() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

uint64_t draw(Context* c) {
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random;
}

}  // namespace

namespace emu {

uint64_t seed() { return chosen_seed; }

Stream* stream_of(Context* context, void* handle) {
    if (!handle || handle == reinterpret_cast<void*>(1) || handle == reinterpret_cast<void*>(2)) return &context->main;
    auto it = std::find(context->streams.begin(), context->streams.end(), handle);
    return it == context->streams.end() ? nullptr : *it;
}

bool is_capturing(Context* context) {
    return std::any_of(context->streams.begin(), context->streams.end(), [](Stream* s) { return s->capture != nullptr; });
}

CUresult submit(Stream* stream, Work work) {
    if (stream->capture) {
        stream->capture->work.push_back(std::move(work));
        return CUDA_SUCCESS;
    }
    stream->queue.push_back(std::move(work));
    return stream->queue.size() > LONG_QUEUE ? drain(stream->context, stream) : CUDA_SUCCESS;
}

CUresult submit(Stream* stream, std::function<void()> run) { return submit(stream, Work{nullptr, std::move(run)}); }

CUresult drain(Context* context, Stream* target) {
    for (;;) {
        std::vector<Stream*> able;
        bool left = false;
        for (Stream* s : context->streams) {
            if (s->queue.empty()) continue;
            left |= !target || s == target;
            if (!s->queue.front().ready || s->queue.front().ready()) able.push_back(s);
        }
        if (!left) return context->sticky;
        if (able.empty()) return context->sticky = CUDA_ERROR_LAUNCH_FAILED;  // streams wait for each other
        Stream* s = able[seed() ? draw(context) % able.size() : 0];
        Work work = std::move(s->queue.front());
        s->queue.pop_front();
        if (context->sticky == CUDA_SUCCESS) work.run();
    }
}

}  // namespace emu

EMU_API void moesharp_emulator_seed(uint64_t value) { chosen_seed = value; }

EMU_API CUresult cuStreamCreate(void** stream, unsigned) {
    Entry e(current_context());
    if (e.error()) return e.error();
    auto* s = new Stream{e.context, {}, nullptr, false};
    e.context->streams.push_back(s);
    *stream = s;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuStreamCreateWithPriority(void** stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }

EMU_API CUresult cuStreamSynchronize(void* stream) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    if (!s) return CUDA_ERROR_INVALID_HANDLE;
    return s->capture ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : drain(e.context, s);
}

EMU_API CUresult cuStreamDestroy_v2(void* stream) {
    Entry e(current_context());
    if (!e.context) return CUDA_ERROR_INVALID_CONTEXT;
    Stream* s = stream_of(e.context, stream);
    if (!s || s == &e.context->main) return CUDA_ERROR_INVALID_HANDLE;
    CUresult result = drain(e.context, s);
    std::erase(e.context->streams, s);
    delete s;
    return result;
}

EMU_API CUresult cuStreamQuery(void* stream) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    return !s ? CUDA_ERROR_INVALID_HANDLE : s->queue.empty() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

EMU_API CUresult cuStreamGetCtx(void* stream, void** context) {
    Entry e(current_context());
    if (!e.context || !stream_of(e.context, stream)) return CUDA_ERROR_INVALID_HANDLE;
    *context = e.context;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuEventCreate(void** event, unsigned) {
    Entry e(current_context());
    if (e.error()) return e.error();
    *event = new Event{e.context};
    return CUDA_SUCCESS;
}

EMU_API CUresult cuEventDestroy_v2(void* event) {
    auto* v = static_cast<Event*>(event);
    Entry e(v->context);
    drain(e.context, nullptr);
    delete v;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuEventRecord(void* event, void* stream) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    if (!s) return CUDA_ERROR_INVALID_HANDLE;
    auto* v = static_cast<Event*>(event);
    uint64_t number = ++v->recorded;
    return submit(s, [v, number] {
        v->done = std::max(v->done, number);
        v->time = now();
    });
}

EMU_API CUresult cuStreamWaitEvent(void* stream, void* event, unsigned) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    if (!s) return CUDA_ERROR_INVALID_HANDLE;
    auto* v = static_cast<Event*>(event);
    uint64_t number = v->recorded;
    return submit(s, Work{[v, number] { return v->done >= number; }, [] {}});
}

EMU_API CUresult cuEventSynchronize(void* event) {
    Entry e(current_context());
    if (e.error()) return e.error();
    auto* v = static_cast<Event*>(event);
    return v->done < v->recorded ? drain(e.context, nullptr) : CUDA_SUCCESS;
}

EMU_API CUresult cuEventQuery(void* event) {
    auto* v = static_cast<Event*>(event);
    return v->done < v->recorded ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

EMU_API CUresult cuEventElapsedTime(float* milliseconds, void* start, void* end) {
    auto *a = static_cast<Event*>(start), *b = static_cast<Event*>(end);
    if (!a->recorded || !b->recorded) return CUDA_ERROR_INVALID_HANDLE;
    if (a->done < a->recorded || b->done < b->recorded) return CUDA_ERROR_NOT_READY;
    *milliseconds = static_cast<float>(b->time - a->time);
    return CUDA_SUCCESS;
}

EMU_API CUresult cuStreamBeginCapture_v2(void* stream, int) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    if (!s || s == &e.context->main || s->capture) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    s->capture = new Graph;
    s->capture_broken = false;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuStreamEndCapture(void* stream, void** graph) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    if (!s || !s->capture) return CUDA_ERROR_INVALID_VALUE;
    *graph = s->capture;
    s->capture = nullptr;
    if (!s->capture_broken) return CUDA_SUCCESS;
    delete static_cast<Graph*>(*graph);
    *graph = nullptr;
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}

EMU_API CUresult cuStreamIsCapturing(void* stream, int* status) {
    Entry e(current_context());
    if (!e.context) return CUDA_ERROR_INVALID_CONTEXT;
    Stream* s = stream_of(e.context, stream);
    if (!s) return CUDA_ERROR_INVALID_HANDLE;
    *status = s->capture ? 1 : 0;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
    *executable = new Graph(*static_cast<Graph*>(graph));
    return CUDA_SUCCESS;
}

EMU_API CUresult cuGraphGetNodes(void* graph, void**, size_t* count) {
    *count = static_cast<Graph*>(graph)->work.size();
    return CUDA_SUCCESS;
}

EMU_API CUresult cuGraphLaunch(void* executable, void* stream) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    if (!s) return CUDA_ERROR_INVALID_HANDLE;
    for (const Work& work : static_cast<Graph*>(executable)->work) {
        if (CUresult r = submit(s, work)) return r;
    }
    return CUDA_SUCCESS;
}

EMU_API CUresult cuGraphExecDestroy(void* executable) {
    delete static_cast<Graph*>(executable);
    return CUDA_SUCCESS;
}

EMU_API CUresult cuGraphDestroy(void* graph) {
    delete static_cast<Graph*>(graph);
    return CUDA_SUCCESS;
}
