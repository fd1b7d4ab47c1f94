// Driver API: modules, functions, launches.
#include <cstdio>
#include <cstring>

#include "driver.h"
#include "module.h"

#include <dlfcn.h>

using namespace emu;

namespace {

// CUlaunchConfig and CUlaunchAttribute as the driver lays them out.
struct LaunchAttribute {
    int id;
    int pad;
    union {
        unsigned cluster[3];
        unsigned char bytes[64];
    };
};

struct LaunchConfiguration {
    unsigned grid[3], block[3], shared;
    void* stream;
    LaunchAttribute* attributes;
    unsigned attribute_count;
};

constexpr int CLUSTER_DIMENSION = 4;
static_assert(sizeof(LaunchAttribute) == 72 && sizeof(LaunchConfiguration) == 56, "layout of the driver's structures");

CUresult launch(void* function, const LaunchConfig& config, void* stream, void** parameters) {
    Entry e(current_context());
    if (e.error()) return e.error();
    Stream* s = stream_of(e.context, stream);
    auto* kernel = static_cast<Kernel*>(function);
    uint64_t threads = static_cast<uint64_t>(config.block.x) * config.block.y * config.block.z;
    bool bad = !s || !kernel || threads == 0 || threads > MAX_THREADS || config.grid.x == 0 || config.grid.y == 0 || config.grid.z == 0 || config.grid.y > 65535 || config.grid.z > 65535 ||
               config.grid.x > 2147483647u || config.shared_bytes > static_cast<unsigned>(kernel->shared_limit) || (!parameters && !kernel->sizes.empty()) || config.grid.x % config.cluster.x ||
               config.grid.y % config.cluster.y || config.grid.z % config.cluster.z;
    if (bad) return CUDA_ERROR_INVALID_VALUE;
    size_t bytes = 0;
    for (unsigned size : kernel->sizes) bytes = (bytes + 63) / 64 * 64 + size;
    auto values = std::make_shared<std::vector<uint8_t>>(bytes + 64);
    auto pointers = std::make_shared<std::vector<void*>>();
    size_t at = (64 - reinterpret_cast<uintptr_t>(values->data()) % 64) % 64;
    values->resize(bytes + 64);
    size_t offset = 0;
    for (size_t i = 0; i < kernel->sizes.size(); i++) {
        offset = (offset + 63) / 64 * 64;
        if (at + offset + kernel->sizes[i] > values->size()) return CUDA_ERROR_INVALID_VALUE;
        std::memcpy(values->data() + at + offset, parameters[i], kernel->sizes[i]);
        pointers->push_back(values->data() + at + offset);
        offset += kernel->sizes[i];
    }
    Context* c = e.context;
    return submit(s, [c, kernel, config, values, pointers] {
        static thread_local uint64_t launches = 0;
        uint64_t mixed = seed() ? seed() * 1000003 + ++launches : 0;
        if (!run_launch(kernel, pointers->data(), config, &c->memory, mixed)) c->sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
    });
}

}  // namespace

EMU_API CUresult cuModuleLoadData(void** module, const void* image) {
    if (!current_context()) return CUDA_ERROR_INVALID_CONTEXT;
    std::string error;
    *module = load_module(image, error);
    if (!*module) std::fprintf(stderr, "emulator: %s\n", error.c_str());
    return *module ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
}

EMU_API CUresult cuModuleLoadDataEx(void** module, const void* image, unsigned, int*, void**) { return cuModuleLoadData(module, image); }

EMU_API CUresult cuModuleUnload(void* module) {
    Entry e(current_context());
    if (!e.context) return CUDA_ERROR_INVALID_CONTEXT;
    drain(e.context, nullptr);
    unload_module(static_cast<Module*>(module));
    return CUDA_SUCCESS;
}

EMU_API CUresult cuModuleGetFunction(void** function, void* module, const char* name) {
    *function = find_kernel(static_cast<Module*>(module), name);
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

EMU_API CUresult cuFuncGetAttribute(int* value, int attribute, void*) {
    *value = attribute == 0 ? MAX_THREADS : 0;  // registers, local and static shared memory do not exist here
    return CUDA_SUCCESS;
}

EMU_API CUresult cuFuncGetParamInfo(void* function, size_t index, size_t* offset, size_t* size) {
    auto* kernel = static_cast<Kernel*>(function);
    if (!kernel || index >= kernel->sizes.size()) return CUDA_ERROR_INVALID_VALUE;
    size_t at = 0;  // parameters follow each other, each aligned to its size
    for (size_t i = 0; i <= index; i++) {
        *size = kernel->sizes[i];
        *offset = at = (at + *size - 1) / *size * *size;
        at += *size;
    }
    return CUDA_SUCCESS;
}

EMU_API CUresult cuFuncSetAttribute(void* function, int attribute, int value) {
    if (attribute != 8) return CUDA_SUCCESS;
    if (value < 0 || value > static_cast<int>(SHARED_LIMIT)) return CUDA_ERROR_INVALID_VALUE;
    auto* kernel = static_cast<Kernel*>(function);
    kernel->shared_limit = value > kernel->shared_limit ? value : kernel->shared_limit;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void*, int threads, size_t) {
    *blocks = threads > 0 && threads <= MAX_THREADS ? 2048 / threads : 0;
    return CUDA_SUCCESS;
}

EMU_API CUresult cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void* stream, void** parameters, void**) {
    LaunchConfig config;
    config.grid = {gx, gy, gz};
    config.block = {bx, by, bz};
    config.shared_bytes = shared;
    return launch(f, config, stream, parameters);
}

EMU_API CUresult cuLaunchKernelEx(const LaunchConfiguration* c, void* f, void** parameters, void**) {
    LaunchConfig config;
    config.grid = {c->grid[0], c->grid[1], c->grid[2]};
    config.block = {c->block[0], c->block[1], c->block[2]};
    config.shared_bytes = c->shared;
    for (unsigned i = 0; i < c->attribute_count; i++) {
        const LaunchAttribute& a = c->attributes[i];
        if (a.id == CLUSTER_DIMENSION) config.cluster = {a.cluster[0], a.cluster[1], a.cluster[2]};
    }
    if (!config.cluster.x || !config.cluster.y || !config.cluster.z) return CUDA_ERROR_INVALID_VALUE;
    return launch(f, config, c->stream, parameters);
}

EMU_API CUresult cuGetProcAddress_v2(const char* name, void** function, int, unsigned long long, int* status) {
    void* self = dlsym(RTLD_DEFAULT, name);
    if (!self) self = dlsym(RTLD_DEFAULT, (std::string(name) + "_v2").c_str());
    *function = self;
    if (status) *status = self ? 0 : 1;
    return self ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
