#include "known_managers.hpp"

#include <unistd.h>

#include <chrono>
#include <tuple>
#include <utility>

#include "client.hpp"
#include "runrig/channel/transfer.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/fork_hooks.hpp"

namespace runrig::detail {
namespace {

using Told = std::vector<std::tuple<std::string, std::vector<std::byte>, int, bool, std::int64_t>>;

std::string name_of(const Address& address) { return to_string(address); }

}  // namespace

ManagerSession::~ManagerSession() {
  if (fd_ >= 0 && is_here()) ::close(fd_);
}
bool ManagerSession::is_here() const noexcept { return process_ == ::getpid(); }
void ManagerSession::close_in_child() const noexcept {
  if (fd_ >= 0) ::close(fd_);
}

/// What happens around a fork.
struct ForkOfKnownManagers {
  static void before() { known_managers().mutex_.lock(); }
  static void in_parent() { known_managers().mutex_.unlock(); }
  static void in_child() {
    for (const auto& [client, session] : known_managers().sessions_) session->close_in_child();
    known_managers().mutex_.unlock();
  }
};

KnownManagers& known_managers() {
  // Never destroyed: managers may be static objects.
  static KnownManagers* const only = [] {
    auto made = std::make_unique<KnownManagers>();
    add_fork_hooks(ForkOfKnownManagers::before, ForkOfKnownManagers::in_parent, ForkOfKnownManagers::in_child);
    return made.release();
  }();
  return *only;
}

void KnownManagers::add(const Address& address, const Authentication& authentication) {
  const std::scoped_lock guard(mutex_);
  Known& known = managers_[name_of(address)];
  known.authentication = authentication;
  ++known.count;
}

void KnownManagers::forget(const Address& address) noexcept {
  const std::scoped_lock guard(mutex_);
  const auto found = managers_.find(name_of(address));
  if (found != managers_.end() && --found->second.count == 0) managers_.erase(found);
}

std::optional<Authentication> KnownManagers::find(const Address& address) const {
  const std::scoped_lock guard(mutex_);
  const auto found = managers_.find(name_of(address));
  return found == managers_.end() ? std::nullopt : std::optional(found->second.authentication);
}

std::shared_ptr<const ManagerClient> KnownManagers::client_at(const Address& address) const {
  const std::scoped_lock guard(mutex_);
  const auto found = clients_.find(name_of(address));
  return found == clients_.end() ? nullptr : found->second.lock();
}

void KnownManagers::add_client(const std::shared_ptr<const ManagerClient>& client) {
  const std::scoped_lock guard(mutex_);
  std::erase_if(clients_, [](const auto& each) { return each.second.expired(); });
  clients_[name_of(client->address())] = client;
}

std::shared_ptr<const ManagerSession> KnownManagers::session_of(std::uint64_t client) const {
  const std::scoped_lock guard(mutex_);
  const auto found = sessions_.find(client);
  return found == sessions_.end() || !found->second->is_here() ? nullptr : found->second;
}

std::shared_ptr<const ManagerSession> KnownManagers::add_session(std::uint64_t client,
                                                                 std::shared_ptr<const ManagerSession> session) {
  const std::scoped_lock guard(mutex_);
  auto& place = sessions_[client];
  if (place == nullptr || !place->is_here()) place = std::move(session);
  return place;
}

void KnownManagers::end_session(std::uint64_t client) noexcept {
  std::shared_ptr<const ManagerSession> last;  // closed after the lock is released
  const std::scoped_lock guard(mutex_);
  const auto found = sessions_.find(client);
  if (found == sessions_.end()) return;
  last = std::move(found->second);
  sessions_.erase(found);
}

std::vector<std::byte> KnownManagers::tell() const {
  Told all;
  {
    const std::scoped_lock guard(mutex_);
    for (const auto& [address, known] : managers_) {
      const Authentication& how = known.authentication;
      all.emplace_back(address, how.key, static_cast<int>(how.minimum_digest), how.allow_md5,
                       std::chrono::nanoseconds(how.time_limit).count());
    }
  }
  std::vector<std::byte> bytes;
  if (!all.empty()) pickle::encode<Told>(bytes, all);
  return bytes;
}

void KnownManagers::learn(std::span<const std::byte> told) {
  if (told.empty()) return;
  const auto all = pickle::decode<Told>(told);
  for (const auto& [address, key, digest, md5, limit] : all) {
    if (digest < static_cast<int>(Digest::md5) || digest > static_cast<int>(Digest::sha3_384)) {
      throw FormatError("start as", "child", "a manager's digest is none that there is");
    }
  }
  const std::scoped_lock guard(mutex_);
  for (const auto& [address, key, digest, md5, limit] : all) {
    Known& known = managers_[address];
    known.authentication = {.key = key,
                            .minimum_digest = static_cast<Digest>(digest),
                            .allow_md5 = md5,
                            .time_limit = std::chrono::nanoseconds(limit)};
    ++known.count;
  }
}

}  // namespace runrig::detail
