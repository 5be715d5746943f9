#include "object_table.hpp"

#include <fmt/format.h>

namespace runrig::detail {
namespace {

[[noreturn]] void none_such(const std::string& ident) {
  throw ManagedError("KeyError", {"no object with the id '" + ident + "'"});
}

}  // namespace

std::string ObjectTable::add(std::shared_ptr<Referent> referent, std::string_view type_id,
                             const std::vector<std::string>& exposed, std::uint64_t process) {
  const std::scoped_lock guard(mutex_);
  const auto known = idents_.find(referent.get());
  if (known != idents_.end()) {
    ++entries_.at(known->second).references[process];
    return known->second;
  }
  // As CPython's, which are addresses, and unlike those never given twice.
  const std::string ident = fmt::format("{:x}", last_ident_ += 0x10);
  idents_[referent.get()] = ident;
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
  last = found->second.referent;
  idents_.erase(last.get());
  entries_.erase(found);
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
    last.push_back(each->second.referent);
    idents_.erase(each->second.referent.get());
    each = entries_.erase(each);
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
