#include "fork_server.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "child.hpp"
#include "runrig/channel/passed_descriptors.hpp"
#include "runrig/shm/mapping.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/fork_hooks.hpp"
#include "runrig/sync/killpoint.hpp"
#include "start_process.hpp"

// The side of those who ask.
namespace runrig::detail {
namespace {

// A server that is gone before it has forked is made anew. So often in a row for one child.
constexpr int most_attempts = 5;

class Server {
 public:
  explicit Server(const UniqueFd& page_file);
  [[nodiscard]] NewProcess start(Preparation told, std::span<const int> descriptors);
  [[nodiscard]] pid_t pid() const noexcept { return process_.pid; }
  [[nodiscard]] bool lives() const;
  /// Waits for its end, which follows that of the connection, and takes its status.
  void stop() noexcept;
  /// In a forked child: it is the parent's, who would not see its end while somebody else has the connection. The rest
  /// is left for later, since most children never need a server.
  void abandon() noexcept {
    socket_.reset();
    process_.pidfd.reset();
  }
  [[nodiscard]] bool abandoned() const noexcept { return !socket_; }

 private:
  enum class Outcome { forked, server_died };
  [[nodiscard]] Outcome request(const Preparation& told, ServerRequest head, std::span<const int> descriptors);
  [[nodiscard]] Outcome await_answer(const std::string& name);

  Mapping memory_;  // of a memfd that only the server has open
  ServerPage& page_;
  UniqueFd socket_;
  NewProcess process_;
  std::string environment_;  // as the server has it
};

// The environment as one string; equal strings are equal environments.
std::string environment_text() {
  std::string text;
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) text.append(*each).push_back('\0');
  return text;
}

UniqueFd make_page_file() {
  UniqueFd file(check_errno(::memfd_create("runrig-fork-server", MFD_CLOEXEC), "make", "memfd for fork server"));
  check_errno(::ftruncate(file.get(), server_page_bytes), "make", "memfd for fork server");
  return file;
}

Server::Server(const UniqueFd& page_file)
    : memory_(Mapping::map(page_file.get(), 0, server_page_bytes, Access::read_write, "fork server")),
      page_(*new (memory_.writable_bytes().data()) ServerPage{}),
      environment_(environment_text()) {
  int ends[2];
  check_errno(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), "connect to", "fork server");
  socket_.reset(ends[0]);
  const UniqueFd theirs(ends[1]);
  Preparation told;
  told.name = "fork server";
  told.parent_pid = ::getpid();
  const std::array descriptors{theirs.get(), page_file.get()};
  process_ = spawn_program(std::move(told), descriptors);
}

bool Server::lives() const { return !wait_for_end(process_.pidfd, Deadline::after(std::chrono::nanoseconds(0))); }

void Server::stop() noexcept {
  socket_.reset();
  try {
    // It does nothing but wait for that. Not stopped by anybody, it takes far less.
    if (!wait_for_end(process_.pidfd, Deadline::after(std::chrono::seconds(2)))) send_signal(process_.pidfd, SIGKILL);
    (void)reap(process_.pidfd);
  } catch (const Error&) {
    send_signal(process_.pidfd, SIGKILL);
  }
}

NewProcess Server::start(Preparation told, std::span<const int> descriptors) {
  // First of all: a number that is free now may be given to something else on the way.
  ServerRequest head;
  head.has_stdout = ::fcntl(STDOUT_FILENO, F_GETFD) == -1 ? 0 : 1;
  head.has_stderr = ::fcntl(STDERR_FILENO, F_GETFD) == -1 ? 0 : 1;
  std::string environment = environment_text();
  if (environment != environment_) told.environment = std::move(environment);
  ReservedPidfd reserved(told.name);
  // Relaxed, and the load below: messages and the end of the server order them.
  page_.child.store(0, std::memory_order_relaxed);
  if (request(told, head, descriptors) == Outcome::server_died && page_.child.load(std::memory_order_relaxed) == 0)
    return {};
  return reserved.open(page_.child.load(std::memory_order_relaxed));
}

Server::Outcome Server::request(const Preparation& told, ServerRequest head, std::span<const int> descriptors) {
  std::vector<std::byte> bytes = told.encode();
  const UniqueFd directory(
      check_errno(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), "open the current directory for", told.name));
  std::vector<int> passed{directory.get()};
  if (head.has_stdout != 0) passed.push_back(STDOUT_FILENO);
  if (head.has_stderr != 0) passed.push_back(STDERR_FILENO);
  UniqueFd file;
  if (bytes.size() > most_inline_bytes) {
    file = make_preparation_file(bytes);
    passed.push_back(file.get());
    head.in_file = 1;
    bytes.clear();
  }
  passed.insert(passed.end(), descriptors.begin(), descriptors.end());
  if (send_with_descriptors(socket_.get(), std::as_bytes(std::span(&head, 1)), bytes, passed) == -1) {
    if (errno == EPIPE || errno == ECONNRESET) return Outcome::server_died;
    check_errno(-1, "ask the fork server for", told.name);
  }
  RUNRIG_KILLPOINT("process.server.asked");
  return await_answer(told.name);
}

Server::Outcome Server::await_answer(const std::string& name) {
  for (;;) {
    // Its end is looked for as well: a child that it forked just before holds the connection for a moment longer.
    std::array<pollfd, 2> entries{{{socket_.get(), POLLIN, 0}, {process_.pidfd.get(), POLLIN, 0}}};
    if (check_errno(retry_on_eintr([&] { return ::poll(entries.data(), entries.size(), -1); }), "wait for",
                    "fork server") == 0) {
      continue;
    }
    ServerAnswer answer;
    const auto got =
        retry_on_eintr([&] { return ::recv(socket_.get(), &answer, sizeof answer, MSG_DONTWAIT | MSG_CMSG_CLOEXEC); });
    if (got == static_cast<ssize_t>(sizeof answer)) {
      if (answer.code == 0) return Outcome::forked;
      throw Error({answer.code, std::system_category()}, "start process", name);
    }
    if (got == -1 && errno == EAGAIN && entries[1].revents == 0) continue;
    return Outcome::server_died;
  }
}

// Relaxed: a number for people, nothing goes with it.
std::atomic<pid_t> server_pid{0};

struct Connection {
  std::mutex mutex;  // held from request to answer, and over forks
  std::optional<Server> server;
};

Connection* make_connection();

Connection& connection() {
  static auto* const all = make_connection();  // never destroyed, as it is used at exit
  return *all;
}

Connection* make_connection() {
  auto* const made = new Connection;
  add_fork_hooks([] { connection().mutex.lock(); }, [] { connection().mutex.unlock(); },
                 [] {
                   if (connection().server) connection().server->abandon();
                   server_pid.store(0, std::memory_order_relaxed);
                   connection().mutex.unlock();
                 });
  return made;
}

}  // namespace

NewProcess start_by_server(const Preparation& told, std::span<const int> descriptors) {
  if (descriptors.size() > most_passed_descriptors) {
    throw Error(std::errc::invalid_argument,
                "pass " + std::to_string(descriptors.size()) + " descriptors (more than " +
                    std::to_string(most_passed_descriptors) + ") through the fork server to",
                told.name);
  }
  Connection& all = connection();
  const std::lock_guard guard(all.mutex);
  if (all.server && all.server->abandoned()) all.server.reset();
  for (int attempt = 0; attempt < most_attempts; ++attempt) {
    if (all.server && !all.server->lives()) {
      all.server->stop();
      all.server.reset();
    }
    if (!all.server) all.server.emplace(make_page_file());
    server_pid.store(all.server->pid(), std::memory_order_relaxed);
    NewProcess made = all.server->start(told, descriptors);
    if (made.pid != 0) return made;
    // Dead, or about to be: its connection is closed before it is seen to have ended.
    all.server->stop();
    all.server.reset();
  }
  throw Error(std::errc::resource_unavailable_try_again,
              "start process (its fork server was killed " + std::to_string(most_attempts) + " times in a row)",
              told.name);
}

pid_t fork_server_pid() noexcept { return server_pid.load(std::memory_order_relaxed); }

void stop_fork_server() noexcept {
  if (fork_server_pid() == 0) return;  // nor a reason to make what follows
  Connection& all = connection();
  const std::lock_guard guard(all.mutex);
  server_pid.store(0, std::memory_order_relaxed);
  if (!all.server) return;
  all.server->stop();
  all.server.reset();
}

}  // namespace runrig::detail
