#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "start_process.hpp"

namespace runrig::detail {
namespace {

// posix_spawn's lists, which are C structures with a destructor.
class FileActions {
 public:
  explicit FileActions(std::string_view name) : name_(name) {
    check_code(::posix_spawn_file_actions_init(&actions_), "start process", name_);
  }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }

  void read_null_as(int fd) {
    check_code(::posix_spawn_file_actions_addopen(&actions_, fd, "/dev/null", O_RDONLY, 0), "start process", name_);
  }
  void pass(int source, int as) {
    check_code(::posix_spawn_file_actions_adddup2(&actions_, source, as), "start process", name_);
  }
  void close_from(int first) {
    check_code(::posix_spawn_file_actions_addclosefrom_np(&actions_, first), "start process", name_);
  }
  [[nodiscard]] const posix_spawn_file_actions_t* get() const noexcept { return &actions_; }

 private:
  std::string name_;
  posix_spawn_file_actions_t actions_{};
};

class Attributes {
 public:
  // No signal blocked; SIGTERM not ignored. The rest is as exec leaves it.
  explicit Attributes(std::string_view name) {
    check_code(::posix_spawnattr_init(&attributes_), "start process", name);
    sigset_t none;
    sigset_t terminate;
    ::sigemptyset(&none);
    ::sigemptyset(&terminate);
    ::sigaddset(&terminate, SIGTERM);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &terminate);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  ~Attributes() { ::posix_spawnattr_destroy(&attributes_); }
  [[nodiscard]] const posix_spawnattr_t* get() const noexcept { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

}  // namespace

NewProcess spawn_program(Preparation told, std::span<const int> descriptors) {
  told.descriptors = descriptors.size();
  ReservedPidfd reserved(told.name);
  const UniqueFd file = make_preparation_file(told.encode());
  std::vector<int> sources{file.get()};
  sources.insert(sources.end(), descriptors.begin(), descriptors.end());
  // The child has them as 3, 4, 5 and so on. By way of numbers above those, so that none overwrites another.
  const int first_free = 3 + static_cast<int>(sources.size());
  std::vector<UniqueFd> high;
  FileActions actions(told.name);
  actions.read_null_as(STDIN_FILENO);
  for (const int source : sources) {
    high.emplace_back(check_errno(::fcntl(source, F_DUPFD_CLOEXEC, first_free), "pass descriptor to", told.name));
    actions.pass(high.back().get(), 2 + static_cast<int>(high.size()));
  }
  actions.close_from(first_free);
  const Attributes attributes(told.name);
  std::array<char*, 3> argv{const_cast<char*>(program_name().c_str()), const_cast<char*>(child_argument), nullptr};
  pid_t pid = 0;
  // The very file that this process was started from, also when its name leads to another one by now.
  check_code(::posix_spawn(&pid, "/proc/self/exe", actions.get(), attributes.get(), argv.data(), environ),
             "start process", told.name);
  RUNRIG_KILLPOINT("process.spawned");
  return reserved.open(pid);
}

}  // namespace runrig::detail
