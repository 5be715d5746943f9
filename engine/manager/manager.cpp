#include "runrig/engine/manager.hpp"

#include <signal.h>

#include <cstdlib>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>

#include "client.hpp"
#include "runrig/channel/wait.hpp"
#include "runrig/engine/log.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {

using pickle::Object;

struct BaseManager::State {
  ManagerOptions options;
  Starter starter = nullptr;
  std::optional<Process> server;
  pid_t starter_process = 0;
  std::shared_ptr<const detail::ManagerClient> client;

  void shut_down() noexcept;
  [[nodiscard]] const detail::ManagerClient& used(const char* attempted) const {
    if (!client) {
      throw std::logic_error(std::string(attempted) + ": the manager is neither started nor connected");
    }
    return *client;
  }
};

namespace {

// Managers whose servers this process has started, and must end before it waits for its children at its own end.
class Started {
 public:
  template <class Change>
  void change(const Change& apply) {
    const std::scoped_lock guard(mutex_);
    if (process_ != ::getpid()) {  // a forked child has started none of them
      managers_.clear();
      process_ = ::getpid();
    }
    apply(managers_);
  }
  [[nodiscard]] std::set<void*> take_all() {
    std::set<void*> all;
    change([&](std::set<void*>& managers) { all.swap(managers); });
    return all;
  }

 private:
  std::mutex mutex_;
  pid_t process_ = ::getpid();
  std::set<void*> managers_;
};
Started& started() {
  static Started list;
  return list;
}

}  // namespace

void BaseManager::State::shut_down() noexcept {
  if (!server || starter_process != ::getpid()) return;
  started().change([this](std::set<void*>& managers) { managers.erase(this); });
  try {
    (void)client->ask_server("shutdown", {});
  } catch (const std::exception& error) {
    get_logger().debug(error.what());
  }
  try {
    if (!server->join(std::chrono::seconds(5))) server->terminate();
    if (!server->join(std::chrono::seconds(1))) server->kill();
    server->join();
    sweep_listener_folders();  // of one that was killed
  } catch (const std::exception& error) {
    get_logger().warning(error.what());
  }
  server.reset();
  client.reset();
}

BaseManager::BaseManager(ManagerOptions options) : BaseManager(std::move(options), nullptr) {}
BaseManager::BaseManager(ManagerOptions options, Starter starter) : state_(std::make_unique<State>()) {
  if (options.authentication.key.empty()) options.authentication.key = current_process().authkey();
  state_->options = std::move(options);
  state_->starter = starter;
  (void)started();  // made before, and so gone after, a manager that is a static object
}
BaseManager::BaseManager(BaseManager&&) noexcept = default;
BaseManager& BaseManager::operator=(BaseManager&& other) noexcept {
  if (this != &other) {
    shutdown();
    state_ = std::move(other.state_);
  }
  return *this;
}
BaseManager::~BaseManager() { shutdown(); }

void BaseManager::connect() {
  if (state_->client) throw std::logic_error("connect a manager that is connected or started already");
  if (!state_->options.address) throw std::logic_error("connect a manager that has no address");
  auto client = detail::ManagerClient::make(*state_->options.address, state_->options.authentication);
  (void)client->ask_server("dummy", {});
  state_->client = std::move(client);
}

void BaseManager::start() {
  State& state = *state_;
  if (state.client) throw std::logic_error("start a manager that is connected or started already");
  if (state.starter == nullptr) {
    throw std::logic_error("start a BaseManager: only a ManagerOf<types>, such as SyncManager, has something to serve");
  }
  Pipe pipe(Direction::receive);
  Process server = state.starter({.name = "Manager"}, std::move(pipe.second), state.options);
  server.start();
  const auto ended = [&] { return Error(std::errc::connection_aborted, "start", "manager"); };
  try {
    const auto [good, text] = pipe.first.recv<std::pair<bool, std::string>>();
    if (!good) throw Error(std::errc::connection_aborted, "start a manager (" + text + ") at", "server");
    state.client = detail::ManagerClient::make(Address::parse(text), state.options.authentication);
  } catch (const EndOfStream&) {
    server.join();
    throw ended();
  } catch (...) {
    server.terminate();  // unless it has ended, as one does that could not listen
    server.join();
    throw;
  }
  state.server.emplace(std::move(server));
  state.starter_process = ::getpid();
  static const int registered = std::atexit([] {
    for (void* each : started().take_all()) static_cast<State*>(each)->shut_down();
  });
  (void)registered;
  started().change([&](std::set<void*>& managers) { managers.insert(state_.get()); });
}

void BaseManager::shutdown() noexcept {
  if (state_) state_->shut_down();
}

const Address& BaseManager::address() const { return state_->used("ask for the address").address(); }

Proxy BaseManager::create_with(std::string_view type_id, std::vector<Object> args) {
  const detail::ManagerClient& client = state_->used("create an object");
  args.insert(args.begin(), Object(type_id));
  const Object made = client.ask_server("create", std::move(args));
  std::vector<std::string> exposed;
  for (const Object& each : made.at(std::size_t{1}).items()) exposed.push_back(each.as_string());
  return Proxy(std::make_shared<const detail::ProxyReference>(state_->client, std::string(type_id),
                                                              made.at(std::size_t{0}).as_string(), std::move(exposed)));
}

std::size_t BaseManager::number_of_objects() const {
  return static_cast<std::size_t>(state_->used("count objects").ask_server("number_of_objects", {}).as_uint());
}
std::string BaseManager::debug_info() const {
  return state_->used("describe objects").ask_server("debug_info", {}).as_string();
}

namespace detail {

std::string address_text(const std::optional<Address>& address) {
  if (!address) return {};
  const bool relative =
      address->family() == Address::Family::unix_socket && address->path().find('/') == std::string::npos;
  return (relative ? "./" : "") + to_string(*address);
}

void serve_managed(ManagedTypes types, Connection ready, const std::string& address, const std::vector<std::byte>& key,
                   bool allow_md5) {
  // Ctrl-C goes to the whole group, and the program that gets it may use the manager while it ends.
  ::signal(SIGINT, SIG_IGN);
  std::unique_ptr<ManagerServer> server;
  try {
    ManagerOptions options;
    if (!address.empty()) options.address = Address::parse(address);
    options.authentication.key = key;
    options.authentication.allow_md5 = allow_md5;
    server = std::make_unique<ManagerServer>(std::move(types), std::move(options));
  } catch (const std::exception& error) {
    ready.send(std::pair(false, std::string(error.what())));
    return;
  }
  ready.send(std::pair(true, address_text(server->address())));
  ready.close();
  // It dies with its parent, in order, so that no socket stays.
  Pipe served;
  std::thread watcher([&server, &end = served.first] {
    const auto parent = parent_process();
    (void)wait({Waitable(parent ? parent->sentinel() : end.fileno()), Waitable(end)});
    server->stop();
  });
  server->serve_forever();
  served.second.close();
  watcher.join();
}

}  // namespace detail
}  // namespace runrig
