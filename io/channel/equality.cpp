#include <bit>
#include <cmath>
#include <set>

#include "node.hpp"

namespace runrig::pickle {
namespace {

using detail::Access;
using detail::Node;

bool same_real(double a, double b) noexcept {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

/// Compares level by level from a list of pairs still to be looked at. A pair of containers met again is taken as
/// equal: if it is not, the first meeting finds that out. So cycles end, and shared parts are compared once.
class Comparison {
 public:
  bool run(const Object& a, const Object& b) {
    later_.emplace_back(&a, &b);
    while (!later_.empty()) {
      const auto [first, second] = later_.back();
      later_.pop_back();
      if (!equal_so_far(*first, *second)) return false;
    }
    return true;
  }

 private:
  bool equal_so_far(const Object& a, const Object& b) {
    if (a.kind() != b.kind()) return false;
    switch (a.kind()) {
      case Kind::none:
        return true;
      case Kind::boolean:
        return a.as_bool() == b.as_bool();
      case Kind::integer:
        return a.as_big_int() == b.as_big_int();
      case Kind::real:
        return same_real(a.as_real(), b.as_real());
      case Kind::complex:
        return same_real(a.as_complex().real(), b.as_complex().real()) &&
               same_real(a.as_complex().imag(), b.as_complex().imag());
      case Kind::string:
        return a.as_string() == b.as_string();
      case Kind::bytes:
      case Kind::bytearray:
        return std::ranges::equal(a.as_bytes(), b.as_bytes());
      case Kind::array:
      case Kind::numpy_scalar:
        return a.as_array() == b.as_array();
      case Kind::numpy_dtype:
        return a.as_dtype() == b.as_dtype();
      case Kind::date:
        return a.as_date() == b.as_date();
      case Kind::time:
        return a.as_time() == b.as_time();
      case Kind::datetime:
        return a.as_datetime() == b.as_datetime();
      case Kind::timedelta:
        return a.as_timedelta() == b.as_timedelta();
      case Kind::timezone:
        return a.as_timezone() == b.as_timezone();
      case Kind::slice:
        return a.as_slice() == b.as_slice();
      case Kind::manager_token:
        return a.as_token() == b.as_token();
      case Kind::proxy:
        return a.as_proxy().type == b.as_proxy().type && a.as_proxy().token == b.as_proxy().token;
      case Kind::shared_handle:
        return a.as_shared_handle() == b.as_shared_handle();
      case Kind::connection:
        return a.as_connection() == b.as_connection();
      default:
        break;
    }
    const Node* const node_a = Access::node(a).get();
    const Node* const node_b = Access::node(b).get();
    if (node_a == node_b || !met_.emplace(node_a, node_b).second) return true;
    if (a.size() != b.size()) return false;
    switch (a.kind()) {
      case Kind::dict:
        return equal_dicts(a, b);
      case Kind::ordered_dict:
        return equal_ordered(a.entries(), b.entries());
      case Kind::set:
      case Kind::frozenset:
        return equal_sets(a, b);
      case Kind::exception:
        if (a.exception_type() != b.exception_type()) return false;
        later_.emplace_back(&a.exception_attributes(), &b.exception_attributes());
        break;
      default:
        break;
    }
    for (std::size_t i = 0; i < a.size(); ++i) later_.emplace_back(&a.items()[i], &b.items()[i]);
    return true;
  }

  bool equal_dicts(const Object& a, const Object& b) {
    const auto& first = Access::as<detail::DictNode>(a);
    const auto& second = Access::as<detail::DictNode>(b);
    for (std::size_t i = 0; i < first.entries.size(); ++i) {
      const auto position = second.index.find(first.index[i]);
      if (!position) return false;
      later_.emplace_back(&first.entries[i].first, &second.entries[*position].first);  // 1 and 1.0 are one key
      later_.emplace_back(&first.entries[i].second, &second.entries[*position].second);
    }
    return true;
  }

  bool equal_ordered(std::span<const Object::Pair> a, std::span<const Object::Pair> b) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      later_.emplace_back(&a[i].first, &b[i].first);
      later_.emplace_back(&a[i].second, &b[i].second);
    }
    return true;
  }

  bool equal_sets(const Object& a, const Object& b) {
    const auto& first = Access::as<detail::SetNode>(a);
    const auto& second = Access::as<detail::SetNode>(b);
    for (std::size_t i = 0; i < first.members.size(); ++i) {
      const auto position = second.index.find(first.index[i]);
      if (!position) return false;
      later_.emplace_back(&first.members[i], &second.members[*position]);
    }
    return true;
  }

  std::vector<std::pair<const Object*, const Object*>> later_;
  std::set<std::pair<const Node*, const Node*>> met_;
};

}  // namespace

bool operator==(const Object& a, const Object& b) { return Comparison().run(a, b); }

}  // namespace runrig::pickle
