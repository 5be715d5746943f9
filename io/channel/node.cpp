#include "node.hpp"

#include <array>
#include <cstring>
#include <new>

namespace runrig::pickle::detail {
namespace {

// Set while a burial is going on in this thread: what dies meanwhile leaves its own contents here. A plain pointer,
// so that objects destroyed late in a thread's life find it still there.
thread_local std::vector<Object>* graveyard = nullptr;

/// True if dropping `value` destroys a container. Others end here without a detour.
bool takes_contents_along(const Object& value) {
  if (Access::use_count(value) != 1) return false;
  switch (Access::raw_node(value)->kind) {
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::ordered_dict:
    case Kind::set:
    case Kind::frozenset:
    case Kind::exception:
      return true;
    default:
      return false;
  }
}

/// Moves the containers among `values` to the graveyard. Without memory for that they stay, and die by recursion.
template <class Visit>
void collect(const Visit& visit) noexcept {
  try {
    visit([](Object& value) {
      if (takes_contents_along(value)) graveyard->push_back(std::exchange(value, Object()));
    });
  } catch (const std::bad_alloc&) {
    return;
  }
}

template <class Visit>
void bury_all(const Visit& visit) noexcept {
  if (graveyard != nullptr) return collect(visit);
  std::vector<Object> graves;
  graveyard = &graves;
  collect(visit);
  while (!graves.empty()) {
    const Object dying = std::move(graves.back());  // its contents come to the graveyard when it goes
    graves.pop_back();
  }
  graveyard = nullptr;
}

}  // namespace

void bury(std::vector<Object>& values) noexcept {
  bury_all([&values](const auto& each) {
    for (Object& value : values) each(value);
  });
}

void bury(std::vector<Object::Pair>& values) noexcept {
  bury_all([&values](const auto& each) {
    for (auto& [key, value] : values) {
      each(key);
      each(value);
    }
  });
}

void add_entry(DictNode& dict, const Fingerprint& key, Object::Pair entry) {
  dict.entries.push_back(std::move(entry));
  try {
    dict.index.add(key);
  } catch (...) {  // without memory for the index: both stay as they were
    dict.entries.pop_back();
    throw;
  }
}

void add_member(SetNode& set, const Fingerprint& key, Object member) {
  set.members.push_back(std::move(member));
  try {
    set.index.add(key);
  } catch (...) {
    set.members.pop_back();
    throw;
  }
}

std::complex<double> complex_number(DType dtype, std::span<const std::byte> element) noexcept {
  if (dtype == DType::complex64) {
    std::array<float, 2> parts;
    std::memcpy(parts.data(), element.data(), sizeof parts);
    return {parts[0], parts[1]};
  }
  std::array<double, 2> parts;
  std::memcpy(parts.data(), element.data(), sizeof parts);
  return {parts[0], parts[1]};
}

}  // namespace runrig::pickle::detail
