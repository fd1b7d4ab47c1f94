#include "report.h"

#include <cstdio>
#include <map>
#include <mutex>
#include <utility>

#include "module.h"

namespace emu {
namespace {

std::mutex lock;
std::string last;
thread_local std::string copy;

std::string shell(const std::string& command) {
    std::string out;
    if (FILE* pipe = popen(command.c_str(), "r")) {
        char buffer[512];
        while (fgets(buffer, sizeof buffer, pipe)) out += buffer;
        pclose(pipe);
    }
    return out;
}

// Source line of an offset in a module, with what it was inlined into.
std::string look_up(const std::string& file, uintptr_t offset) {
    char where[32];
    std::snprintf(where, sizeof where, "0x%zx", static_cast<size_t>(offset));
    std::string text = shell("addr2line -i -e '" + file + "' " + where + " 2>/dev/null");
    std::string result;
    size_t at = 0;
    for (size_t end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
        std::string line = text.substr(at, end - at);
        line = line.substr(0, line.find(" ("));
        if (line.find("cuda_builtins.h") != std::string::npos || line[0] == '?') continue;
        if (size_t folder = line.find("/src/"); folder != std::string::npos) line = line.substr(folder + 5);
        result += result.empty() ? line : " inlined at " + line;
    }
    return result.empty() ? "?" : result;
}

}  // namespace

void file_report(const std::string& kind, const std::string& text) {
    std::lock_guard guard(lock);
    last = kind + ": " + text;
    std::fprintf(stderr, "emulator: %s\n", last.c_str());
}

std::string source_line(const void* code) {
    // A compiler may copy a barrier, and then every thread that waits at one copy asks whether it is the place of the other.
    static std::map<std::pair<std::string, uintptr_t>, std::string> known;
    static std::mutex known_lock;
    std::string file;
    uintptr_t offset = 0;
    if (!module_of(code, file, offset)) return "?";
    std::lock_guard guard(known_lock);
    auto [entry, added] = known.try_emplace({file, offset});
    // A return address points behind the call; the byte before it belongs to the call's own line.
    if (added) entry->second = look_up(file, offset - 1);
    return entry->second;
}

}  // namespace emu

extern "C" const char* moesharp_emulator_report() {
    std::lock_guard guard(emu::lock);
    emu::copy = emu::last;
    return emu::copy.c_str();
}

extern "C" void moesharp_emulator_forget() {
    std::lock_guard guard(emu::lock);
    emu::last.clear();
}
