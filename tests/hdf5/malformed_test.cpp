#include <dlfcn.h>
#include <execinfo.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <iostream>

#include "manifest.hpp"
#include "support.hpp"

namespace {
constexpr int library_broke_memory = 77;  // exit code of a child in which the sanitizer caught the library
}

#if defined(__SANITIZE_ADDRESS__)
// A crash of the library is to end the child by its signal, as without the sanitizer, and what it does to its own
// memory is known: our code is what is watched here.
extern "C" const char* __asan_default_options() {
  return "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_abort=0:allocator_may_return_null=1";
}
extern "C" void __asan_on_error() {
  void* frames[64];
  const int count = ::backtrace(frames, 64);
  for (int i = 0; i < count; ++i) {
    Dl_info place{};
    if (::dladdr(frames[i], &place) == 0 || place.dli_fname == nullptr) continue;
    const std::string_view object(place.dli_fname);
    if (object.find("libhdf5") != std::string_view::npos) ::_exit(library_broke_memory);
    // The innermost frames are the sanitizer's and this function; the first of ours below them is the culprit.
    const std::string_view function(place.dli_sname == nullptr ? "" : place.dli_sname);
    if (object.find("libasan") == std::string_view::npos && function != "__asan_on_error") return;
  }
}
#elif defined(__SANITIZE_THREAD__)
extern "C" const char* __tsan_default_options() {
  return "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_abort=0:allocator_may_return_null=1";
}
#endif

namespace runrig::hdf5 {
namespace {

/// Everything that info and stats would do to a file. Errors of the file are what is expected here.
void exercise(const std::string& path) {
  const rlimit cpu{4, 5};
  ::setrlimit(RLIMIT_CPU, &cpu);
  const rlimit core{0, 0};
  ::setrlimit(RLIMIT_CORE, &core);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which map terabytes for themselves
  const rlimit memory{rlim_t{1} << 30, rlim_t{1} << 30};
  ::setrlimit(RLIMIT_AS, &memory);
#endif
  std::size_t values_read = 0;
  try {
    const File file = File::open(path);
    std::vector<std::string> datasets;
    file.walk([&](const ObjectInfo& info) {
      if (info.dataset && info.dataset->type.numeric) datasets.push_back(info.path);
    });
    for (const std::string& name : datasets) {
      try {
        auto dataset = Dataset::open(file, name, {.max_chunk_bytes = std::size_t{256} << 20});
        const auto selection = Selection::all(dataset.info().shape);
        const BoxPlan plan(dataset.info(), selection, std::uint64_t{8} << 20);
        std::vector<std::byte> out;
        for (std::uint64_t i = 0; i < std::min<std::uint64_t>(plan.size(), 20); ++i) {
          const auto bytes = plan[i].count.checked_bytes(item_bytes(dataset.info().type.dtype));
          if (!bytes || *bytes > (std::size_t{256} << 20)) break;
          out.resize(*bytes);
          dataset.read(selection, plan[i], out.data());
          values_read += *bytes;
        }
      } catch (const Error& error) {
        std::cerr << "  " << error.what() << "\n";
      } catch (const std::bad_alloc&) {
        std::cerr << "  " << name << ": out of memory\n";
      }
    }
  } catch (const Error& error) {
    std::cerr << "  " << error.what() << "\n";
  }
  std::cerr << "  " << values_read << " bytes read\n";
}

TEST(MalformedTest, EveryGivenFileIsReadRefusedOrKillsTheLibraryButNotOurCode) {
  RUNRIG_NEED_SHARED_DATA(data);
  std::size_t files = 0;
  std::string failed;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data / "malformed")) {
    if (!entry.is_regular_file() || entry.path().extension() == ".md") continue;
    ++files;
    std::cerr << entry.path().filename().string() << "\n";
    const int result = test::run_in_child([&] { exercise(entry.path().string()); }, std::chrono::seconds(60));
    // The library's own crashes, and its endless loops at the CPU limit; everything else would be ours.
    const bool library = result == -SIGSEGV || result == -SIGABRT || result == -SIGFPE || result == -SIGBUS ||
                         result == -SIGXCPU || result == -SIGKILL || result == library_broke_memory;
    if (result != 0) std::cerr << "  ended with " << result << "\n";
    // Gathered and judged at the end: a child that inherits a failure reports it as its own.
    if (result != 0 && !library) failed += "\n" + entry.path().string() + " ended with " + std::to_string(result);
  }
  EXPECT_GT(files, 50U);
  EXPECT_EQ(failed, "");
}

}  // namespace
}  // namespace runrig::hdf5
