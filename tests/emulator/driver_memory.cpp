// Driver API: memory, pools, copies, fills.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "driver.h"

using namespace emu;
using CUdeviceptr = unsigned long long;

namespace {

uint8_t* pointer(CUdeviceptr p) { return reinterpret_cast<uint8_t*>(p); }

bool is_pinned(Context* c, const void* p) {
    auto* at = static_cast<const uint8_t*>(p);
    return std::any_of(c->pinned.begin(), c->pinned.end(), [&](const HostBlock& b) { return at >= b.base && at < b.base + b.bytes; });
}

// A range of device memory that an API call may touch.
bool valid(Context* c, CUdeviceptr p, size_t bytes) {
    if (bytes == 0) return true;
    Allocation* a = c->memory.find(p);
    return a && p + bytes <= reinterpret_cast<uintptr_t>(a->base) + a->bytes;
}

CUresult allocate(Context* c, CUdeviceptr* out, size_t bytes, Pool* pool) {
    if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    Allocation* a = c->memory.allocate(bytes);
    if (!a) return CUDA_ERROR_OUT_OF_MEMORY;
    if (pool) {
        c->pooled.emplace_back(a, pool);
        pool->used += bytes;
        pool->used_high = std::max(pool->used_high, pool->used);
        pool->reserved = std::max(pool->reserved, pool->used);
        pool->reserved_high = std::max(pool->reserved_high, pool->reserved);
    }
    *out = reinterpret_cast<CUdeviceptr>(a->base);
    return CUDA_SUCCESS;
}

void release(Context* c, Allocation* a) {
    auto it = std::find_if(c->pooled.begin(), c->pooled.end(), [&](auto& p) { return p.first == a; });
    if (it != c->pooled.end()) {
        it->second->used -= a->bytes;
        c->pooled.erase(it);
    }
    c->memory.release(a);
}

CUresult exact(Context* c, CUdeviceptr p, Allocation** a) {
    *a = c->memory.find(p);
    return *a && reinterpret_cast<CUdeviceptr>((*a)->base) == p ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

void fill32(uint8_t* to, unsigned value, size_t count) {
    for (size_t i = 0; i < count; i++) std::memcpy(to + 4 * i, &value, 4);
}

}  // namespace

EMU_API CUresult cuMemAlloc_v2(CUdeviceptr* p, size_t bytes) {
    Entry e(current_context());
    return e.error() ? e.error() : allocate(e.context, p, bytes, nullptr);
}

EMU_API CUresult cuMemFree_v2(CUdeviceptr p) {
    Entry e(current_context());
    if (e.error()) return e.error();
    if (CUresult r = drain(e.context, nullptr)) return r;
    Allocation* a;
    if (CUresult r = exact(e.context, p, &a)) return r;
    release(e.context, a);
    return CUDA_SUCCESS;
}

EMU_API CUresult cuMemAllocFromPoolAsync(CUdeviceptr* p, size_t bytes, void* pool, void* stream) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    if (!s) return CUDA_ERROR_INVALID_HANDLE;
    if (s->capture) {
        s->capture_broken = true;  // graph-owned memory is not emulated: the engine promises not to allocate while capturing
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return allocate(e.context, p, bytes, static_cast<Pool*>(pool));
}

EMU_API CUresult cuMemAllocAsync(CUdeviceptr* p, size_t bytes, void* stream) {
    Context* c = current_context();
    return cuMemAllocFromPoolAsync(p, bytes, c ? &c->pool : nullptr, stream);
}

EMU_API CUresult cuMemFreeAsync(CUdeviceptr p, void* stream) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    if (!s) return CUDA_ERROR_INVALID_HANDLE;
    if (s->capture) {
        s->capture_broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    Allocation* a;
    if (CUresult r = exact(e.context, p, &a)) return r;
    Context* c = e.context;
    return submit(s, [c, a] { release(c, a); });
}

EMU_API CUresult cuDeviceGetDefaultMemPool(void** pool, int) {
    Context* c = current_context();
    if (!c) return CUDA_ERROR_INVALID_CONTEXT;
    *pool = &c->pool;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuMemPoolCreate(void** pool, const void*) {
    Entry e(current_context());
    if (e.error()) return e.error();
    *pool = new Pool{e.context};
    return CUDA_SUCCESS;
}

EMU_API CUresult cuMemPoolDestroy(void* pool) {
    auto* p = static_cast<Pool*>(pool);
    Entry e(p->context);
    drain(p->context, nullptr);
    std::erase_if(p->context->pooled, [&](auto& x) { return x.second == p; });
    delete p;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuMemPoolSetAttribute(void* pool, int attribute, void* value) {
    auto* p = static_cast<Pool*>(pool);
    uint64_t v = 0;
    std::memcpy(&v, value, attribute <= 3 ? 4 : 8);
    if (attribute == 4) p->threshold = v;
    if (attribute == 6) p->reserved_high = p->reserved;
    if (attribute == 8) p->used_high = p->used;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuMemPoolGetAttribute(void* pool, int attribute, void* value) {
    auto* p = static_cast<Pool*>(pool);
    uint64_t v;
    switch (attribute) {
        case 4: v = p->threshold; break;
        case 5: v = p->reserved; break;
        case 6: v = p->reserved_high; break;
        case 7: v = p->used; break;
        case 8: v = p->used_high; break;
        default: return CUDA_ERROR_INVALID_VALUE;
    }
    std::memcpy(value, &v, 8);
    return CUDA_SUCCESS;
}

EMU_API CUresult cuMemPoolTrimTo(void* pool, size_t keep) {
    auto* p = static_cast<Pool*>(pool);
    p->reserved = std::max<uint64_t>(p->used, std::min<uint64_t>(p->reserved, keep));
    return CUDA_SUCCESS;
}

EMU_API CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
    Entry e(current_context());
    if (e.error()) return e.error();
    *total = e.context->memory.capacity;
    *free = *total - e.context->memory.used();
    return CUDA_SUCCESS;
}

EMU_API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, void* stream) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    if (!s || !valid(e.context, to, bytes)) return CUDA_ERROR_INVALID_VALUE;
    Context* c = e.context;
    if (is_pinned(c, from)) {
        return submit(s, [c, to, from, bytes] {
            std::memcpy(pointer(to), from, bytes);
            c->memory.mark_written(to, bytes);
        });
    }
    if (s->capture) {
        s->capture_broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    auto staged = std::make_shared<std::vector<uint8_t>>(static_cast<const uint8_t*>(from), static_cast<const uint8_t*>(from) + bytes);
    return submit(s, [c, to, staged] {
        std::memcpy(pointer(to), staged->data(), staged->size());
        c->memory.mark_written(to, staged->size());
    });
}

EMU_API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
    CUresult r = cuMemcpyHtoDAsync_v2(to, from, bytes, nullptr);
    Entry e(current_context());
    return r ? r : drain(e.context, nullptr);
}

EMU_API CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, void* stream) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    if (!s || !valid(e.context, from, bytes)) return CUDA_ERROR_INVALID_VALUE;
    bool pinned = is_pinned(e.context, to);
    if (s->capture && !pinned) {
        s->capture_broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    CUresult r = submit(s, [to, from, bytes] { std::memcpy(to, pointer(from), bytes); });
    return r || pinned ? r : drain(e.context, s);
}

EMU_API CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
    Entry e(current_context());
    if (e.error()) return e.error();
    if (CUresult r = drain(e.context, nullptr)) return r;
    return cuMemcpyDtoHAsync_v2(to, from, bytes, nullptr);
}

EMU_API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, void* stream) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    Context* c = e.context;
    if (!s || !valid(c, to, bytes) || !valid(c, from, bytes)) return CUDA_ERROR_INVALID_VALUE;
    return submit(s, [c, to, from, bytes] {
        std::memmove(pointer(to), pointer(from), bytes);
        c->memory.mark_written(to, bytes);
    });
}

EMU_API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, void* stream) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    Context* c = e.context;
    if (!s || !valid(c, to, count)) return CUDA_ERROR_INVALID_VALUE;
    return submit(s, [c, to, value, count] {
        std::memset(pointer(to), value, count);
        c->memory.mark_written(to, count);
    });
}

EMU_API CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, void* stream) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    Context* c = e.context;
    if (!s || to % 4 || !valid(c, to, 4 * count)) return CUDA_ERROR_INVALID_VALUE;
    return submit(s, [c, to, value, count] {
        fill32(pointer(to), value, count);
        c->memory.mark_written(to, 4 * count);
    });
}

EMU_API CUresult cuMemHostAlloc(void** p, size_t bytes, unsigned) {
    Entry e(current_context());
    if (e.error()) return e.error();
    *p = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!*p) return CUDA_ERROR_OUT_OF_MEMORY;
    e.context->pinned.push_back({static_cast<uint8_t*>(*p), bytes});
    return CUDA_SUCCESS;
}

EMU_API CUresult cuMemFreeHost(void* p) {
    Entry e(current_context());
    if (!e.context) return CUDA_ERROR_INVALID_CONTEXT;
    drain(e.context, nullptr);
    if (!std::erase_if(e.context->pinned, [&](const HostBlock& b) { return b.base == p; })) return CUDA_ERROR_INVALID_VALUE;
    std::free(p);
    return CUDA_SUCCESS;
}

EMU_API CUresult cuPointerGetAttribute(void* data, int attribute, CUdeviceptr p) {
    Entry e(current_context());
    if (!e.context || !e.context->memory.find(p)) return CUDA_ERROR_INVALID_VALUE;
    if (attribute == 1) *static_cast<void**>(data) = e.context;
    else if (attribute == 2) *static_cast<unsigned*>(data) = 2;
    else return CUDA_ERROR_NOT_SUPPORTED;
    return CUDA_SUCCESS;
}
