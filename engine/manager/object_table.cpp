#include "object_table.hpp"

#include <fmt/format.h>
#include <sys/random.h>

#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

[[noreturn]] void none_such(const std::string& ident) {
  throw ManagedError("KeyError", {"no object with the id '" + ident + "'"});
}

/// The server's own reference to an object.
class Held final : public pickle::ProxyKeeper {
 public:
  Held(std::weak_ptr<ObjectTable> table, std::string ident, std::shared_ptr<Referent> referent)
      : table_(std::move(table)), ident_(std::move(ident)), referent_(std::move(referent)) {}
  ~Held() override {
    const auto table = table_.lock();
    if (table == nullptr) return;  // with all objects in it
    try {
      table->decref(ident_, ObjectTable::held_by_objects);
    } catch (const std::exception&) {  // it is gone
    }
  }
  [[nodiscard]] const std::shared_ptr<Referent>& referent() const noexcept { return referent_; }

 private:
  const std::weak_ptr<ObjectTable> table_;
  const std::string ident_;
  const std::shared_ptr<Referent> referent_;
};

// Idents begin anywhere, so that another server's are hardly ever taken for one's own.
std::uint64_t random_start() {
  std::uint64_t number = 0;
  check_errno(retry_on_eintr([&] { return ::getrandom(&number, sizeof number, 0); }), "make", "idents of manager");
  return number & 0x3fff'ffff'fff0;  // as an address, which CPython's idents are
}

}  // namespace

std::shared_ptr<Referent> served_object(const pickle::Object& proxy) {
  if (proxy.kind() != pickle::Kind::proxy) return nullptr;
  const auto held = std::dynamic_pointer_cast<const Held>(proxy.as_proxy().keeper);
  return held == nullptr ? nullptr : held->referent();
}

ObjectTable::ObjectTable() : last_ident_(random_start()) {}

std::string ObjectTable::add(std::shared_ptr<Referent> referent, std::string_view type_id,
                             const std::vector<std::string>& exposed, std::uint64_t process) {
  const std::scoped_lock guard(mutex_);
  const Identity identity{referent->identity(), type_id};
  const auto known = idents_.find(identity);
  if (known != idents_.end()) {
    ++entries_.at(known->second).references[process];
    return known->second;
  }
  // As CPython's, which are addresses, and unlike those never given twice.
  std::string ident = fmt::format("{:x}", last_ident_ += 0x10);
  idents_[identity] = ident;
  entries_[ident] = {std::move(referent), std::string(type_id), exposed, {{process, 1}}};
  return ident;
}

void ObjectTable::incref(const std::string& ident, std::uint64_t process) {
  const std::scoped_lock guard(mutex_);
  const auto found = entries_.find(ident);
  if (found == entries_.end()) none_such(ident);
  ++found->second.references[process];
}

void ObjectTable::decref(const std::string& ident, std::uint64_t process) {
  std::shared_ptr<Referent> last;  // destroyed after the lock is released
  const std::scoped_lock guard(mutex_);
  const auto found = entries_.find(ident);
  if (found == entries_.end()) none_such(ident);
  auto& references = found->second.references;
  const auto own = references.find(process);
  if (own == references.end()) throw ManagedError("ValueError", {"this process has no reference to '" + ident + "'"});
  if (--own->second == 0) references.erase(own);
  if (!references.empty()) return;
  last = take_out(found);
}

std::shared_ptr<Referent> ObjectTable::take_out(std::map<std::string, Entry>::iterator entry) {
  auto referent = std::move(entry->second.referent);
  idents_.erase({referent->identity(), entry->second.type_id});
  entries_.erase(entry);
  return referent;
}

std::shared_ptr<const pickle::ProxyKeeper> ObjectTable::hold(const std::string& ident) {
  const std::scoped_lock guard(mutex_);
  const auto found = entries_.find(ident);
  if (found == entries_.end()) return nullptr;
  // The count first: without memory for it there is nothing whose end would come back here.
  std::int64_t& count = found->second.references[held_by_objects];
  try {
    auto held = std::make_shared<const Held>(weak_from_this(), ident, found->second.referent);
    ++count;
    return held;
  } catch (...) {
    if (count == 0) found->second.references.erase(held_by_objects);
    throw;
  }
}

ObjectTable::Entry ObjectTable::find(const std::string& ident) const {
  const std::scoped_lock guard(mutex_);
  const auto found = entries_.find(ident);
  if (found == entries_.end()) none_such(ident);
  return found->second;
}

std::vector<std::shared_ptr<Referent>> ObjectTable::all() const {
  const std::scoped_lock guard(mutex_);
  std::vector<std::shared_ptr<Referent>> referents;
  for (const auto& [ident, entry] : entries_) referents.push_back(entry.referent);
  return referents;
}

void ObjectTable::forget_process(std::uint64_t process) {
  for (const auto& each : all()) each->forget_process(process);
  std::vector<std::shared_ptr<Referent>> last;
  const std::scoped_lock guard(mutex_);
  for (auto each = entries_.begin(); each != entries_.end();) {
    each->second.references.erase(process);
    if (!each->second.references.empty()) {
      ++each;
      continue;
    }
    last.push_back(take_out(each++));
  }
}

void ObjectTable::forget_connection(std::uint64_t connection) {
  for (const auto& each : all()) each->forget_connection(connection);
}

std::size_t ObjectTable::size() const {
  const std::scoped_lock guard(mutex_);
  return entries_.size();
}

std::string ObjectTable::description() const {
  std::vector<std::pair<std::string, Entry>> copies;
  {
    const std::scoped_lock guard(mutex_);
    copies.assign(entries_.begin(), entries_.end());
  }
  std::string text;
  for (const auto& [ident, entry] : copies) {
    std::int64_t count = 0;
    for (const auto& [process, references] : entry.references) count += references;
    std::string shown = entry.referent->text();
    if (shown.size() > 75) shown.resize(75);
    text += fmt::format("{}  {}:       refcount={}\n    {}", text.empty() ? "" : "\n", ident, count, shown);
  }
  return text;
}

}  // namespace runrig::detail
