#include "runrig/engine/init.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>

#include "child.hpp"
#include "child_life.hpp"
#include "fork_server.hpp"
#include "preparation.hpp"
#include "runrig/sync/error.hpp"
#include "start_process.hpp"

namespace runrig {
namespace detail {
namespace {

bool init_called = false;
std::string& own_program_name() {
  static auto* const name = new std::string("runrig-program");  // children of exit handlers may still need it
  return *name;
}

constexpr int preparation_fd = 3;

std::vector<UniqueFd> collect_descriptors(std::size_t count) {
  std::vector<UniqueFd> descriptors;
  for (int fd = preparation_fd + 1; descriptors.size() < count; ++fd) {
    check_errno(::fcntl(fd, F_SETFD, FD_CLOEXEC), "take over descriptor", std::to_string(fd));
    descriptors.emplace_back(fd);
  }
  return descriptors;
}

[[noreturn]] void live_as_child() {
  const auto bytes = read_preparation_file(preparation_fd);
  if (!bytes) {
    std::fprintf(stderr, "%s: %s is for processes that the program starts itself\n", own_program_name().c_str(),
                 child_argument);
    ::_exit(2);
  }
  ::close(preparation_fd);
  set_process_name(program_file_name());  // it is "exe" by the path of the program
  try {
    const Preparation told = Preparation::decode(*bytes);
    auto descriptors = collect_descriptors(told.descriptors);
    if (told.entry.empty()) run_fork_server(told.parent_pid, std::move(descriptors));
    live_as_told(told, std::move(descriptors));
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n", own_program_name().c_str(), error.what());
    ::_exit(1);
  }
}

}  // namespace

void check_init_called(const std::string& attempted) {
  if (init_called) return;
  throw std::logic_error(
      attempted +
      ": this program has not called runrig::init(argc, argv) at the head of its main, without which "
      "the new process would run all of main again");
}

const std::string& program_name() noexcept { return own_program_name(); }

std::string program_file_name() {
  const std::string& name = own_program_name();
  return name.substr(name.rfind('/') + 1);  // npos + 1 is 0: all of it
}

}  // namespace detail

void init(int argc, const char* const* argv) {
  if (detail::init_called) return;
  detail::init_called = true;
  if (argc > 0 && argv[0] != nullptr) detail::own_program_name() = argv[0];
  if (argc > 1 && std::strcmp(argv[1], detail::child_argument) == 0) detail::live_as_child();
}

}  // namespace runrig
