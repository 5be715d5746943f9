#include "runrig/channel/resource_sharer.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <utility>

#include "runrig/channel/send_handle.hpp"
#include "runrig/sync/block_signals.hpp"
#include "runrig/sync/error.hpp"
#include "timed_messages.hpp"

namespace runrig {
namespace {

// What is asked for: its number, and who asks.
using Request = std::tuple<std::int64_t, std::int64_t>;
constexpr std::size_t longest_request = 1024;

ListenerOptions who_have_the_key(Authentication authentication) {
  ListenerOptions options;
  options.authentication = std::move(authentication);
  return options;
}

UniqueFd duplicate(int descriptor) {
  return UniqueFd(check_errno(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0), "share", "descriptor"));
}

Direction direction_of(const pickle::SharedConnection& connection) noexcept {
  if (connection.readable && connection.writable) return Direction::duplex;
  return connection.readable ? Direction::receive : Direction::send;
}

}  // namespace

struct ResourceSharer::State {
  explicit State(Authentication authentication)
      : time_limit(authentication.time_limit), listener(who_have_the_key(std::move(authentication))) {}
  void serve() noexcept;
  void hand_over(Connection connection);
  /// Whose request the thread reads, to be hung up at the end; -1 for nobody. False after the end.
  bool listen_to(int socket);
  void end() noexcept;
  [[nodiscard]] UniqueFd take(std::int64_t key);
  void check_owner() const;

  const pid_t owner = ::getpid();
  const std::chrono::nanoseconds time_limit;
  Listener listener;
  std::mutex mutex;  // of what follows
  std::map<std::int64_t, UniqueFd> kept;
  std::int64_t last_key = 0;
  int asking = -1;
  bool ended = false;
  std::thread thread;
};

void ResourceSharer::State::check_owner() const {
  if (owner != ::getpid()) {
    throw std::logic_error("share a descriptor: this is the sharer of the process that this one was forked from");
  }
}

UniqueFd ResourceSharer::State::take(std::int64_t key) {
  const std::lock_guard guard(mutex);
  const auto found = kept.find(key);
  if (found == kept.end()) return {};
  UniqueFd taken = std::move(found->second);
  kept.erase(found);
  return taken;
}

bool ResourceSharer::State::listen_to(int socket) {
  const std::lock_guard guard(mutex);
  asking = socket;
  return !ended;
}

// Hung up on, whoever is in the middle of asking keeps the thread no longer.
void ResourceSharer::State::end() noexcept {
  listener.stop();
  {
    const std::lock_guard guard(mutex);
    ended = true;
    if (asking != -1) ::shutdown(asking, SHUT_RDWR);
  }
  thread.join();
}

void ResourceSharer::State::hand_over(Connection connection) {
  struct Asking {
    ~Asking() { (void)of.listen_to(-1); }
    State& of;
  } const asks{*this};
  if (!listen_to(connection.fileno())) return;
  const auto request = detail::TimedMessages(connection, Deadline::after(time_limit)).receive(longest_request);
  const auto [key, process] = pickle::decode<Request>(request);
  // Whoever asks for what is not there finds the end of the stream, as with Python's.
  if (const UniqueFd fd = take(key)) send_handle(connection, fd.get());
}

void ResourceSharer::State::serve() noexcept {
  for (;;) {
    try {
      hand_over(listener.accept());
    } catch (const AuthenticationError&) {  // who came is gone
    } catch (const Error& error) {
      if (error.code() == std::errc::operation_canceled) return;
      // Nothing that a client says or leaves ends the sharer. Without descriptors or memory accept() throws at once, as
      // long as that lasts.
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    } catch (const std::exception&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

ResourceSharer::ResourceSharer(Authentication authentication)
    : state_(std::make_unique<State>(std::move(authentication))) {
  // Signals are for the program's threads. A new thread has the mask of the one that makes it.
  const detail::BlockSignals blocked;
  try {
    state_->thread = std::thread([&state = *state_] { state.serve(); });
  } catch (const std::system_error& error) {
    throw Error(error.code(), "start the thread of", "resource sharer");
  }
}

ResourceSharer::~ResourceSharer() {
  if (state_->owner != ::getpid()) {
    // The thread is not here, and may have held anything when this process was forked.
    (void)state_.release();
    return;
  }
  state_->end();
}

pickle::SharedHandle ResourceSharer::share(int descriptor) {
  state_->check_owner();
  UniqueFd fd = duplicate(descriptor);
  const std::lock_guard guard(state_->mutex);
  pickle::SharedHandle handle{state_->listener.address(), ++state_->last_key};
  state_->kept.emplace(handle.key, std::move(fd));
  return handle;
}

pickle::SharedConnection ResourceSharer::share(const Connection& connection) {
  const Direction direction = connection.direction();  // throws if it is closed
  return {share(connection.fileno()), direction != Direction::send, direction != Direction::receive};
}

std::size_t ResourceSharer::size() const {
  state_->check_owner();
  const std::lock_guard guard(state_->mutex);
  return state_->kept.size();
}

const Address& ResourceSharer::address() const { return state_->listener.address(); }

UniqueFd fetch_handle(const pickle::SharedHandle& handle, const ClientOptions& options,
                      std::chrono::nanoseconds timeout) {
  const Deadline deadline = Deadline::after(timeout);
  Client client(handle.sharer,
                {.connect_timeout = std::min(options.connect_timeout, timeout), .any_user = options.any_user});
  if (options.authentication) {
    // Not the Client's: what connecting took is not there for the proof.
    Authentication proof = *options.authentication;
    proof.time_limit = std::min(proof.time_limit, deadline.remaining());
    detail::authenticate(client, proof, detail::Handshake::of_client);
  }
  std::vector<std::byte> request;
  pickle::encode(request, Request{handle.key, ::getpid()});
  detail::TimedMessages(client, deadline).send(request);
  return recv_handle(client, deadline.remaining());
}

Connection fetch_connection(const pickle::SharedConnection& connection, const ClientOptions& options,
                            std::chrono::nanoseconds timeout) {
  return Connection(fetch_handle(connection.handle, options, timeout), direction_of(connection), "received connection");
}

}  // namespace runrig
