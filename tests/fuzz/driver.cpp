// What drives a fuzzer where libFuzzer is not: inputs from a corpus, as they are and then changed by chance, the same
// ones for the same seed.
//
//   fuzz_NAME [--seconds N] [--runs N] [--seed N] FILE|FOLDER...
//
// A finding is an input that crashes, that throws, that takes longer than its deadline or more memory than the limit.
// It is left in the current folder, and `fuzz_NAME --runs 0 FILE` runs it again.

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "mutator.hpp"
#include "target.hpp"

namespace {

using runrig::fuzz::Input;
using Clock = std::chrono::steady_clock;

constexpr std::size_t most_input_bytes = std::size_t{64} << 10;
// The largest limit among what is read (Limits::max_memory) several times over, and far from what a length can ask for.
constexpr std::size_t most_memory_bytes = std::size_t{512} << 20;
constexpr unsigned deadline_seconds = 30;  // for one input, on a machine that may be busy

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool memory_is_ours = false;  // the sanitizer's own would be measured
#else
constexpr bool memory_is_ours = true;
#endif

// The input that is being run, for who writes it down when it ends badly.
const Input* current = nullptr;

void write_down(const char* why) noexcept {
  // Only what a signal handler may call.
  const auto say = [](std::string_view text) { (void)!::write(STDERR_FILENO, text.data(), text.size()); };
  say("fuzz: ");
  say(why);
  if (current == nullptr) return say("\n");
  const int fd = ::open("finding", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd != -1 && ::write(fd, current->data(), current->size()) == static_cast<ssize_t>(current->size())) {
    say("; the input is in the file 'finding', in the folder of the test\n");
  } else {
    say("; the input could not be written down\n");
  }
  if (fd != -1) ::close(fd);
}

extern "C" void on_bad_end(int signal) {
  write_down(signal == SIGALRM ? "an input takes longer than its deadline" : "an input ends the process by a signal");
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

void catch_bad_ends() {
  // On a stack of its own: one of the bad ends is that there is no more of the usual one.
  static std::array<std::byte, std::size_t{64} << 10> stack;
  stack_t other{};
  other.ss_sp = stack.data();
  other.ss_size = stack.size();
  ::sigaltstack(&other, nullptr);
  struct sigaction action {};
  action.sa_handler = on_bad_end;
  action.sa_flags = SA_ONSTACK;
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM}) ::sigaction(signal, &action, nullptr);
}

[[noreturn]] void fail(const char* why) {
  write_down(why);
  std::_Exit(1);
}

std::size_t peak_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) << 10;
}

void run(const Input& input, std::size_t peak_allowed) {
  current = &input;
  ::alarm(deadline_seconds);
  try {
    (void)LLVMFuzzerTestOneInput(input.data(), input.size());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fuzz: %s\n", error.what());
    fail("an input makes it throw");
  } catch (...) {
    fail("an input makes it throw");
  }
  ::alarm(0);
  if (memory_is_ours && peak_bytes() > peak_allowed) fail("an input takes more memory than the limit");
  current = nullptr;
}

Input read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  file.exceptions(std::ios::badbit);
  return Input(std::istreambuf_iterator<char>(file), {});
}

// In the order of their names, so that a seed means the same everywhere.
std::vector<Input> read_corpus(const std::vector<std::filesystem::path>& places) {
  std::vector<std::filesystem::path> files;
  for (const auto& place : places) {
    if (!std::filesystem::is_directory(place)) {
      files.push_back(place);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(place)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Input> corpus;
  for (const auto& file : files) corpus.push_back(read_file(file));
  return corpus;
}

struct Options {
  std::uint64_t seconds = 10;
  std::uint64_t runs = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t seed = 1;
  std::vector<std::filesystem::path> places;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    std::uint64_t* const number = word == "--seconds" ? &options.seconds
                                  : word == "--runs"  ? &options.runs
                                  : word == "--seed"  ? &options.seed
                                                      : nullptr;
    if (number == nullptr) {
      options.places.emplace_back(word);
      continue;
    }
    const std::string_view value = i + 1 < argc ? argv[++i] : "";
    const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), *number);
    if (error != std::errc() || stop != value.data() + value.size()) {
      std::fprintf(stderr, "fuzz: %s needs a number\n", argv[i - 1]);
      std::exit(2);
    }
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const auto corpus = read_corpus(options.places);
  if (corpus.empty()) {
    std::fputs("fuzz: there is no corpus to begin with\n", stderr);
    return 2;
  }
  catch_bad_ends();
  const std::size_t peak_allowed = peak_bytes() + most_memory_bytes;
  if (memory_is_ours) {
    // An allocation that is much too large fails, and is a finding, before the machine has to give what it asks for.
    const rlimit limit{peak_allowed * 4, peak_allowed * 4};
    ::setrlimit(RLIMIT_AS, &limit);
  }
  for (const Input& input : corpus) run(input, peak_allowed);
  runrig::fuzz::Mutator mutate(options.seed, most_input_bytes);
  const auto end = Clock::now() + std::chrono::seconds(options.seconds);
  std::uint64_t runs = 0;
  for (; runs < options.runs && Clock::now() < end; ++runs) run(mutate(corpus), peak_allowed);
  std::printf("fuzz: %zu inputs of the corpus and %llu made from them; peak %zu MiB\n", corpus.size(),
              static_cast<unsigned long long>(runs), peak_bytes() >> 20);
  return 0;
}
