// The NVRTC API over g++: the same kernel text, with the emulator's own common/ptx.cuh, becomes a shared library whose memory accesses
// call the emulator (-fsanitize=thread without the sanitizer's runtime).
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "driver.h"
#include "module.h"

using namespace emu;

namespace {

enum : int { NVRTC_SUCCESS = 0, NVRTC_ERROR_INVALID_INPUT = 3, NVRTC_ERROR_INVALID_PROGRAM = 4, NVRTC_ERROR_INVALID_OPTION = 5, NVRTC_ERROR_COMPILATION = 6 };

struct Program {
    std::string source, name, log, image;
    std::vector<std::pair<std::string, std::string>> headers;
};

// The folder of this library: its headers for kernels lie beside it.
std::string own_folder() {
    Dl_info self;
    dladdr(reinterpret_cast<void*>(&own_folder), &self);
    std::string file = self.dli_fname;
    return file.substr(0, file.rfind('/'));
}

std::string read_file(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

bool write_file(const std::string& file, const std::string& text) {
    for (size_t at = file.find('/', 1); at != std::string::npos; at = file.find('/', at + 1)) mkdir(file.substr(0, at).c_str(), 0700);
    std::ofstream out(file, std::ios::binary);
    out << text;
    return out.good();
}

// Runs a program without a shell; its output goes to a file.
int run(const std::vector<std::string>& arguments, const std::string& output) {
    std::vector<char*> argv;
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t child = 0;
    int failed = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) return 127;
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

std::vector<std::string> kernel_names(const std::string& source) {
    static const std::regex pattern(R"(__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\()");
    std::vector<std::string> names;
    for (std::sregex_iterator it(source.begin(), source.end(), pattern), end; it != end; ++it) names.push_back((*it)[1]);
    return names;
}

// The headers with inline assembly, for which the emulator has its own.
bool is_replaced(const std::string& header) { return header == "common/ptx.cuh" || header == "common/hopper.cuh" || header == "common/wgmma.cuh"; }

std::string without(const std::string& text, const std::string& part) {
    std::string result = text;
    for (size_t at; (at = result.find(part)) != std::string::npos;) result.erase(at, part.size());
    return result;
}

}  // namespace

EMU_API int nvrtcVersion(int* major, int* minor) {
    *major = 12;
    *minor = 4;
    return NVRTC_SUCCESS;
}

EMU_API const char* nvrtcGetErrorString(int result) {
    switch (result) {
        case NVRTC_SUCCESS: return "NVRTC_SUCCESS";
        case NVRTC_ERROR_INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
        case NVRTC_ERROR_INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
        case NVRTC_ERROR_INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
        case NVRTC_ERROR_COMPILATION: return "NVRTC_ERROR_COMPILATION";
        default: return "NVRTC_ERROR unknown";
    }
}

EMU_API int nvrtcCreateProgram(void** program, const char* source, const char* name, int count, const char* const* headers, const char* const* names) {
    if (!program || !source) return NVRTC_ERROR_INVALID_INPUT;
    auto* p = new Program{source, name ? name : "kernel.cu", {}, {}, {}};
    for (int i = 0; i < count; i++) p->headers.emplace_back(names[i], headers[i]);
    *program = p;
    return NVRTC_SUCCESS;
}

EMU_API int nvrtcDestroyProgram(void** program) {
    delete static_cast<Program*>(*program);
    *program = nullptr;
    return NVRTC_SUCCESS;
}

EMU_API int nvrtcCompileProgram(void* program, int count, const char* const* options) {
    auto* p = static_cast<Program*>(program);
    const char* temporary = std::getenv("TMPDIR");
    std::string folder = std::string(temporary ? temporary : "/tmp") + "/moesharp-nvrtc-XXXXXX";
    if (!mkdtemp(folder.data())) {
        p->log = "cannot make a folder for the compiler in " + folder;
        return NVRTC_ERROR_COMPILATION;
    }
    const std::string own = own_folder(), root = folder + "/src/";
    bool written = true;
    for (const auto& [name, text] : p->headers) written &= write_file(root + name, is_replaced(name) ? read_file(own + name.substr(6)) : text);
    std::string text = p->source + "\n";
    std::string list;
    for (const std::string& kernel : kernel_names(p->source)) {
        text += "EMU_KERNEL(" + kernel + ")\n";
        list += "\"" + kernel + "\", ";
    }
    text += "extern \"C\" {\nconst char* emu_kernel_names[] = {" + list + "nullptr};\n}\n";
    written &= write_file(root + p->name, text);
    std::vector<std::string> command{"g++", "-std=c++20", "-x", "c++", "-O1", "-g1", "-march=native", "-fPIC", "-shared", "-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0",
                                     "-fno-exceptions", "-fno-rtti", "-fno-asynchronous-unwind-tables", "-fno-stack-protector", "-fno-strict-aliasing", "-nostdlib",
                                     "-Wno-attributes", "-Wno-unknown-pragmas", "-Wno-multichar", "-I", own, "-I", folder + "/src", "-include", "cuda_builtins.h"};
    int result = NVRTC_SUCCESS;
    for (int i = 0; i < count; i++) {
        std::string option = options[i];
        if (option.rfind("-D", 0) == 0) command.push_back(option);
        else if (option.rfind("--define-macro=", 0) == 0) command.push_back("-D" + option.substr(15));
        else if (option.rfind("--gpu-architecture=sm_", 0) == 0) command.push_back("-D__CUDA_ARCH__=" + std::to_string(std::atoi(option.c_str() + 22)) + "0");
        else if (option.rfind("-", 0) != 0) result = NVRTC_ERROR_INVALID_OPTION;
    }
    const std::string library = folder + "/kernel.so", log = folder + "/log";
    command.insert(command.end(), {"-o", library, root + p->name});
    if (result == NVRTC_SUCCESS) {
        int status = written ? run(command, log) : 1;
        p->log = written ? without(read_file(log), folder + "/src/") : "cannot write into " + folder;
        if (status == 127) p->log += "g++ does not start";
        if (status != 0) result = NVRTC_ERROR_COMPILATION;
    }
    if (result == NVRTC_SUCCESS) {
        std::string bytes = read_file(library);
        ImageHeader header{};
        std::memcpy(header.magic, IMAGE_MAGIC, sizeof IMAGE_MAGIC);
        header.bytes = bytes.size();
        p->image.assign(reinterpret_cast<const char*>(&header), sizeof header);
        p->image += bytes;
    }
    std::vector<std::string> remove{"rm", "-rf", folder};
    run(remove, "/dev/null");
    return result;
}

EMU_API int nvrtcGetProgramLogSize(void* program, size_t* size) {
    *size = static_cast<Program*>(program)->log.size() + 1;
    return NVRTC_SUCCESS;
}

EMU_API int nvrtcGetProgramLog(void* program, char* log) {
    const std::string& text = static_cast<Program*>(program)->log;
    std::memcpy(log, text.c_str(), text.size() + 1);
    return NVRTC_SUCCESS;
}

EMU_API int nvrtcGetCUBINSize(void* program, size_t* size) {
    *size = static_cast<Program*>(program)->image.size();
    return NVRTC_SUCCESS;
}

EMU_API int nvrtcGetCUBIN(void* program, char* image) {
    const std::string& bytes = static_cast<Program*>(program)->image;
    std::memcpy(image, bytes.data(), bytes.size());
    return NVRTC_SUCCESS;
}

EMU_API int nvrtcGetNumSupportedArchs(int* count) {
    *count = 4;
    return NVRTC_SUCCESS;
}

EMU_API int nvrtcGetSupportedArchs(int* architectures) {
    const int known[] = {80, 86, 89, 90};
    std::memcpy(architectures, known, sizeof known);
    return NVRTC_SUCCESS;
}
