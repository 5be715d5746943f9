#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "child.hpp"
#include "child_life.hpp"
#include "fork_server.hpp"
#include "preparation.hpp"
#include "process_state.hpp"
#include "runrig/channel/passed_descriptors.hpp"
#include "runrig/engine/code.hpp"
#include "runrig/shm/mapping.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/fork_hooks.hpp"
#include "runrig/sync/killpoint.hpp"
#include "start_process.hpp"

// The server itself.
namespace runrig::detail {
namespace {

constexpr const char* server_name = "runrig-server";

// What libc's fork does for a process with one thread and no lock held, and a bare clone does not: the thread keeps its
// number where libc looks for it, and the list of its robust mutexes is known to the kernel again.
struct ThreadPlaces {
  int* number = nullptr;
  void* robust_list = nullptr;
  std::size_t robust_list_bytes = 0;

  static ThreadPlaces find() {
    ThreadPlaces places;
    // CONFIG_CHECKPOINT_RESTORE, which the kernels of distributions have.
    check_errno(::prctl(PR_GET_TID_ADDRESS, &places.number, 0, 0, 0),
                "use start method forkserver (this kernel does not tell where a thread keeps its number; use spawn) by",
                "prctl");
    check_errno(::syscall(SYS_get_robust_list, 0, &places.robust_list, &places.robust_list_bytes), "find",
                "list of robust mutexes");
    return places;
  }
};

// The copy is a child of our parent, whose number the kernel writes to `noted` before it begins to run.
pid_t clone_sibling(const ThreadPlaces& places, std::atomic<std::int32_t>& noted) {
  constexpr unsigned long flags = CLONE_PARENT | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
  run_hooks_before_fork();
#if defined(__x86_64__)
  const long pid = ::syscall(SYS_clone, flags | SIGCHLD, nullptr, &noted, places.number, nullptr);
#else  // all others that glibc supports have the last two the other way round
  const long pid = ::syscall(SYS_clone, flags | SIGCHLD, nullptr, &noted, nullptr, places.number);
#endif
  const int code = errno;
  if (pid == 0) {
    ::syscall(SYS_set_robust_list, places.robust_list, places.robust_list_bytes);
    run_hooks_in_child();
    return 0;
  }
  run_hooks_in_parent();
  errno = code;
  return static_cast<pid_t>(pid);
}

void set_environment(const std::string& text) {
  // For life. Each string ends where the next begins.
  auto* const strings = new std::string(text);
  auto* const pointers = new std::vector<char*>;
  char* const end = strings->data() + strings->size();
  for (char* each = strings->data(); each < end; each += std::strlen(each) + 1) pointers->push_back(each);
  pointers->push_back(nullptr);
  environ = pointers->data();
}

class ServerProcess {
 public:
  ServerProcess(pid_t parent, std::vector<UniqueFd> descriptors)
      : parent_(open_pidfd(parent)),
        socket_(std::move(descriptors.at(0))),
        memory_(Mapping::map(descriptors.at(1).get(), 0, server_page_bytes, Access::read_write, "fork server")),
        page_(*reinterpret_cast<ServerPage*>(memory_.writable_bytes().data())) {
    descriptors.clear();
    // The children need no copy of it, and so none is made.
    check_errno(::madvise(&page_, server_page_bytes, MADV_DONTFORK), "map", "fork server");
    if (::getppid() != parent) ::_exit(0);  // gone already, and the number may be another's by now
  }
  [[noreturn]] void run();

 private:
  void await_request();
  void serve(ReceivedMessage request);
  [[noreturn]] void become_child(ReceivedMessage request);
  void answer(int code);

  const ThreadPlaces places_ = ThreadPlaces::find();
  const std::string name_of_children_ = program_file_name();
  UniqueFd parent_;
  UniqueFd socket_;
  Mapping memory_;
  ServerPage& page_;
  alignas(ServerRequest) std::array<std::byte, sizeof(ServerRequest) + most_inline_bytes> buffer_{};
};

void ServerProcess::run() {
  for (;;) {
    await_request();
    ReceivedMessage request = receive_with_descriptors(socket_.get(), buffer_);
    if (request.kind == ReceivedMessage::Kind::end) ::_exit(0);
    if (request.kind == ReceivedMessage::Kind::failed) {
      answer(request.code);
      continue;
    }
    serve(std::move(request));
  }
}

void ServerProcess::await_request() {
  // The parent's end closes the connection, unless some child of it, not made by fork(), has a copy.
  std::array<pollfd, 2> entries{{{socket_.get(), POLLIN, 0}, {parent_.get(), POLLIN, 0}}};
  check_errno(retry_on_eintr([&] { return ::poll(entries.data(), entries.size(), -1); }), "wait for", "requests");
  if (entries[1].revents != 0) ::_exit(0);
}

void ServerProcess::serve(ReceivedMessage request) {
  RUNRIG_KILLPOINT("process.server.received");
  const pid_t pid = clone_sibling(places_, page_.child);
  if (pid == 0) become_child(std::move(request));
  const int code = pid == -1 ? errno : 0;
  RUNRIG_KILLPOINT("process.server.forked");
  answer(code);
}

void ServerProcess::answer(int code) {
  const ServerAnswer answer{code};
  // The parent is gone if this fails, which the next look finds.
  (void)retry_on_eintr([&] { return ::send(socket_.get(), &answer, sizeof answer, MSG_NOSIGNAL); });
}

void ServerProcess::become_child(ReceivedMessage request) {
  socket_.reset();
  parent_.reset();
  set_process_name(name_of_children_);
  ServerRequest head;
  Preparation told;
  auto& given = request.descriptors;
  std::size_t taken = 0;
  const auto next = [&]() -> UniqueFd {
    if (taken >= given.size()) throw FormatError("start as", "child", "it was given too few descriptors");
    return std::move(given[taken++]);
  };
  try {
    if (request.size_bytes < sizeof head) throw FormatError("start as", "child", "the request is too short");
    std::memcpy(&head, buffer_.data(), sizeof head);
    if (head.magic != ServerRequest::right_magic) throw FormatError("start as", "child", "the request is none");
    check_errno(::fchdir(next().get()), "change to", "the parent's directory");
    for (const auto& [fd, there] :
         {std::pair(STDOUT_FILENO, head.has_stdout), std::pair(STDERR_FILENO, head.has_stderr)}) {
      if (there != 0) {
        check_errno(::dup2(next().get(), fd), "take over", "the parent's output");
      } else {
        ::close(fd);
      }
    }
    std::vector<std::byte> from_file;
    auto bytes = std::span<const std::byte>(buffer_).subspan(sizeof head, request.size_bytes - sizeof head);
    if (head.in_file != 0) {
      auto read = read_preparation_file(next().get());
      if (!read) throw FormatError("start as", "child", "the request's file is none of ours");
      from_file = std::move(*read);
      bytes = from_file;
    }
    told = Preparation::decode(bytes);
    if (told.environment) set_environment(*told.environment);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "runrig: %s\n", error.what());
    ::_exit(1);
  }
  given.erase(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(taken));
  live_as_told(told, std::move(given));
}

}  // namespace

void run_fork_server(pid_t parent, std::vector<UniqueFd> descriptors) {
  try {
    // What is sent to the whole group, such as an interrupt, is for the parent to act on. Children let all through
    // again.
    const SignalsBlocked blocked;
    set_process_name(server_name);
    // Nothing of the parent's surroundings is held on to; each child gets its own.
    check_errno(::chdir("/"), "change to", "/");
    {
      const UniqueFd null(check_errno(::open("/dev/null", O_WRONLY | O_CLOEXEC), "open", "/dev/null"));
      check_errno(::dup2(null.get(), STDOUT_FILENO), "replace", "standard output");
    }
    // Made here, and not in each child:
    (void)this_process();
    prepare_to_find_code();
    ServerProcess(parent, std::move(descriptors)).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "runrig: fork server: %s\n", error.what());
    ::_exit(1);
  }
}

}  // namespace runrig::detail
