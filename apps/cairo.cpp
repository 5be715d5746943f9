#include "cairo.hpp"

#include <dlfcn.h>

#include <string>

#include "runrig/sync/error.hpp"

namespace runrig::cli {
namespace {

constexpr const char* library = "libcairo.so.2";  // its binary interface, which has that number since 2005
constexpr const char* attempt = "draw";
constexpr const char* image = "a PNG";

template <class Function>
Function function_of(void* handle, const char* name) {
  void* const address = ::dlsym(handle, name);
  if (address == nullptr) throw FormatError(attempt, image, std::string(library) + " has no " + name);
  return reinterpret_cast<Function>(address);
}

Cairo load() {
  void* const handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);  // stays loaded
  if (handle == nullptr) {
    const char* const reason = ::dlerror();
    throw FormatError(attempt, image, std::string(reason != nullptr ? reason : library) + "; an SVG needs no library");
  }
  Cairo functions{};
#define RUNRIG_CAIRO_LOAD(name) functions.name = function_of<decltype(functions.name)>(handle, "cairo_" #name);
  RUNRIG_CAIRO_FUNCTIONS(RUNRIG_CAIRO_LOAD)
#undef RUNRIG_CAIRO_LOAD
  return functions;
}

}  // namespace

const Cairo& cairo() {
  static const Cairo functions = load();
  return functions;
}

}  // namespace runrig::cli
