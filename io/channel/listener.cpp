#include "runrig/channel/listener.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <list>
#include <string>
#include <utility>
#include <vector>

#include "arrival.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/poll.hpp"
#include "socket.hpp"
#include "socket_file.hpp"
#include "timed_messages.hpp"

namespace runrig {

struct Listener::State {
  State(Address at, ListenerOptions given);
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { close(); }

  void listen();
  void close() noexcept;
  [[nodiscard]] Connection accept(Deadline deadline);
  [[nodiscard]] std::optional<Connection> take_arrival();
  [[nodiscard]] std::optional<Connection> take_proved();
  void wait(Deadline deadline);
  [[nodiscard]] Connection connection(UniqueFd socket, const std::optional<Address>& from, const std::string& name);

  ListenerOptions options;
  Address address;
  UniqueFd socket;
  UniqueFd stopped;  // an eventfd
  std::optional<detail::SocketFolder> folder;
  std::optional<detail::SocketFile> file;
  std::optional<Address> last_accepted;
  std::list<detail::Arrival> arrivals;  // oldest first
};

Listener::State::State(Address at, ListenerOptions given) : options(std::move(given)), address(std::move(at)) {
  if (options.authentication) detail::check_authentication(*options.authentication);
  stopped.reset(check_errno(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "listen at", to_string(address)));
  try {
    listen();
  } catch (...) {
    close();  // which removes the socket's file, if it was made
    throw;
  }
}

void Listener::State::listen() {
  const std::string name = to_string(address);
  const auto resolved = detail::resolve(address);
  const detail::SocketAddress& first = resolved.front();
  socket = detail::make_socket(first.storage.ss_family, address);
  if (address.family() == Address::Family::inet) {
    const int yes = 1;
    check_errno(::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes), "set up a socket for", name);
  }
  check_errno(::bind(socket.get(), first.get(), first.size), "listen at", name);
  if (address.family() == Address::Family::unix_socket) {
    file.emplace(address.path());
    // Before listen(): until then nobody gets in, whatever umask made of the mode.
    check_errno(::chmod(address.path().c_str(), options.any_user ? 0666 : 0600), "set the mode of", name);
  }
  check_errno(::listen(socket.get(), options.backlog), "listen at", name);
  // What poll() says may be gone by the time of accept(), which must not wait then.
  check_errno(::fcntl(socket.get(), F_SETFL, O_NONBLOCK), "listen at", name);
  detail::SocketAddress bound;
  bound.size = sizeof bound.storage;
  check_errno(::getsockname(socket.get(), bound.get(), &bound.size), "listen at", name);
  if (const auto as_numbers = detail::to_address(bound)) address = *as_numbers;
}

void Listener::State::close() noexcept {
  arrivals.clear();
  if (file) file->remove();
  file.reset();
  if (folder) folder->remove();
  folder.reset();
  socket.reset();
}

Connection Listener::State::connection(UniqueFd accepted, const std::optional<Address>& from, const std::string& name) {
  last_accepted = from;
  return Connection(std::move(accepted), Direction::duplex, name);
}

Connection Listener::State::accept(Deadline deadline) {
  for (;;) {
    wait(deadline);
    if (auto proved = take_proved()) return std::move(*proved);
    if (auto arrived = take_arrival()) return std::move(*arrived);
  }
}

void Listener::State::wait(Deadline deadline) {
  std::vector<pollfd> entries{{stopped.get(), POLLIN, 0}, {socket.get(), POLLIN, 0}};
  Deadline next = deadline;
  for (const auto& each : arrivals) {
    entries.push_back({each.fileno(), POLLIN, 0});
    next = next.sooner(each.deadline());
  }
  detail::poll_until(entries, next);
  if (entries[0].revents != 0) {
    throw Error(std::errc::operation_canceled, "accept a connection at", to_string(address));
  }
  bool any = false;
  for (const pollfd& each : entries) any = any || each.revents != 0;
  for (const auto& each : arrivals) any = any || each.deadline().passed();
  if (!any && deadline.passed()) throw TimeoutError("accept a connection at", to_string(address));
}

std::optional<Connection> Listener::State::take_proved() {
  for (auto each = arrivals.begin(); each != arrivals.end(); ++each) {
    bool proved = false;
    try {
      proved = each->proceed();
    } catch (const Error&) {
      arrivals.erase(each);
      throw;
    }
    if (!proved) continue;
    Connection result = connection(each->take_socket(), each->from(), each->name());
    arrivals.erase(each);
    return result;
  }
  return std::nullopt;
}

std::optional<Connection> Listener::State::take_arrival() {
  detail::SocketAddress peer;
  peer.size = sizeof peer.storage;
  UniqueFd accepted(retry_on_eintr([&] { return ::accept4(socket.get(), peer.get(), &peer.size, SOCK_CLOEXEC); }));
  if (!accepted) {
    // Nobody is there, or has changed their mind, or the network had an error for one of them (accept(2)).
    for (const int code : {EAGAIN, EWOULDBLOCK, ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET,
                           EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, EPERM}) {
      if (errno == code) return std::nullopt;
    }
    check_errno(-1, "accept a connection at", to_string(address));
  }
  const std::optional<Address> from = detail::to_address(peer);
  const std::string name = from ? "client " + to_string(*from) : "client of " + to_string(address);
  if (!options.any_user) detail::check_peer_user(accepted.get(), address);
  detail::set_up_tcp(accepted.get(), address);
  if (!options.authentication) return connection(std::move(accepted), from, name);
  arrivals.emplace_back(detail::make_stream(std::move(accepted), name), from, *options.authentication);
  if (arrivals.size() > options.most_handshakes) {
    const std::string dropped = arrivals.front().name();
    arrivals.pop_front();
    throw AuthenticationError("authenticate (too many others came before it was done) with", dropped);
  }
  return std::nullopt;
}

Listener::Listener(const Address& address, ListenerOptions options)
    : state_(std::make_unique<State>(address, std::move(options))) {}

Listener::Listener(ListenerOptions options) {
  auto folder = detail::SocketFolder::make();
  try {
    state_ = std::make_unique<State>(Address(folder.socket_path()), std::move(options));
  } catch (...) {
    folder.remove();
    throw;
  }
  state_->folder = std::move(folder);
}

Listener::Listener(Listener&&) noexcept = default;
Listener& Listener::operator=(Listener&&) noexcept = default;
Listener::~Listener() = default;

Connection Listener::accept(std::chrono::nanoseconds timeout) {
  if (!state_ || !state_->socket) throw std::logic_error("accept a connection: the listener is closed");
  return state_->accept(Deadline::after(timeout));
}

void Listener::stop() noexcept {
  if (!state_) return;
  const std::uint64_t one = 1;
  // Fails only if it was done 2^64 - 2 times before.
  (void)retry_on_eintr([&] { return ::write(state_->stopped.get(), &one, sizeof one); });
}

const Address& Listener::address() const {
  if (!state_) throw std::logic_error("ask for the address of a listener that was moved away");
  return state_->address;
}
std::optional<Address> Listener::last_accepted() const { return state_ ? state_->last_accepted : std::nullopt; }
void Listener::close() noexcept {
  if (state_) state_->close();
}

int sweep_listener_folders() { return detail::sweep_socket_folders(); }

Client::Client(const Address& address, const ClientOptions& options) {
  if (options.authentication) detail::check_authentication(*options.authentication);
  UniqueFd socket = detail::connect_to(address, Deadline::after(options.connect_timeout));
  if (!options.any_user) detail::check_peer_user(socket.get(), address);
  Connection connection(std::move(socket), Direction::duplex, to_string(address));
  if (options.authentication) {
    detail::authenticate(connection, *options.authentication, detail::Handshake::of_client);
  }
  static_cast<Connection&>(*this) = std::move(connection);
}

}  // namespace runrig
