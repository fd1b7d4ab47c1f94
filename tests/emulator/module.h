// Compiled kernels: a shared library that was made by the emulated NVRTC, loaded by the emulated driver.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emu {

struct Kernel {
    std::string name;
    void (*thunk)(void** parameters);
    std::vector<unsigned> sizes;   // bytes of each parameter
    bool hopper = false;           // uses instructions of compute capability 9.0
    int shared_limit = 48 * 1024;  // dynamic shared memory allowed, raised by cuFuncSetAttribute
};

struct Module {
    void* handle;
    std::string file;
    std::vector<Kernel*> kernels;
};

Module* load_module(const void* image, std::string& error);  // null: error says why
void unload_module(Module* module);
Kernel* find_kernel(Module* module, const char* name);

// Whether an address lies in a loaded module's image (constants are read there); and the file and offset for addr2line.
bool in_module(uintptr_t at);
bool module_of(const void* code, std::string& file, uintptr_t& offset);

// What nvrtcGetCUBIN returns: a header so that the size is known from the image alone, then the library.
struct ImageHeader {
    char magic[8];
    uint64_t bytes;
};
constexpr char IMAGE_MAGIC[8] = {'M', 'O', 'E', 'E', 'M', 'U', '0', '1'};

}  // namespace emu
