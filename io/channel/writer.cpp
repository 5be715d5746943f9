#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <unordered_map>

#include "connection_globals.hpp"
#include "forms.hpp"
#include "framed_bytes.hpp"
#include "nested.hpp"
#include "node.hpp"
#include "proxy_globals.hpp"
#include "runrig/channel/opcodes.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::pickle {
namespace {

using detail::Access;
using detail::Node;
using detail::Op;

constexpr std::size_t batch = 1000;  // elements per APPENDS: bounds the reader's stack

/// Adds a pickle's bytes to `out`.
class Writer {
 public:
  /// `buffers`: where the bytes of arrays go; null if they are to be in the pickle.
  Writer(std::vector<std::byte>& out, int protocol, Buffers* buffers, bool framed = true)
      : out_(out, protocol, framed), forms_(out_), buffers_(buffers) {}

  void run(const Object& object) {
    out_.put(Op::proto);
    out_.put_number(static_cast<std::uint8_t>(out_.protocol()));
    out_.begin_frame();
    save(object, 0);
    out_.put(Op::stop);
    out_.end_frame();
  }
  /// Only what makes `object`, as part of a pickle whose memo has `memo_count` entries. Returns how many it adds.
  std::uint32_t run_nested(const Object& object, std::uint32_t memo_count) {
    memo_base_ = memo_count;
    save(object, 0);
    return static_cast<std::uint32_t>(memo_.size());
  }

 private:
  // Values.
  void save(const Object& object, std::size_t depth);
  void save_node(const Object& object, std::size_t depth);
  // Not inlined, like the containers below: all locals would be on the stack once for each level of nesting.
  [[gnu::noinline]] void save_leaf(const Object& object);
  void save_text(std::string_view text);
  void save_array(const NdBuffer& array);
  void save_exception_type(const detail::ExceptionType& type);
  [[gnu::noinline]] void save_list(const Object& list, std::size_t depth);
  [[gnu::noinline]] void save_tuple(const Object& tuple, std::size_t depth);
  [[gnu::noinline]] void save_dict(const Object& dict, std::size_t depth);
  [[gnu::noinline]] void save_set(const Object& set, std::size_t depth);
  [[gnu::noinline]] void save_exception(const Object& exception, std::size_t depth);
  template <class Elements, class Save>
  void save_batches(const Elements& elements, Op one, Op many, const Save& save_element);

  // The memo: of what more than one handle leads to.
  [[nodiscard]] bool save_from_memo(const Object& object);
  void memoize(const Object& object);

  detail::FramedBytes out_;
  detail::Forms<detail::FramedBytes> forms_;
  Buffers* const buffers_;
  std::uint32_t memo_base_ = 0;
  std::unordered_map<const Node*, std::uint32_t> memo_;
  // A tuple comes into the memo only after its elements. While one is open that its elements may mention, all of them
  // are memoized, so that writing it a second time meets known parts and ends.
  int open_recursive_tuples_ = 0;
};

void Writer::save(const Object& object, std::size_t depth) {
  out_.end_large_frame();
  switch (object.kind()) {
    case Kind::none:
      return out_.put(Op::none);
    case Kind::boolean:
      return out_.put(object.as_bool() ? Op::newtrue : Op::newfalse);
    case Kind::real:
      return forms_.real(object.as_real());
    case Kind::integer:
      if (Access::raw_node(object) == nullptr) return forms_.integer(object.as_int());
      break;
    default:
      break;
  }
  if (save_from_memo(object)) return;
  if (depth > Limits{}.max_depth) {
    throw Error(std::errc::value_too_large, "write", "object nested deeper than " + std::to_string(Limits{}.max_depth));
  }
  save_node(object, depth);
}

void Writer::save_node(const Object& object, std::size_t depth) {
  switch (object.kind()) {
    // These memoize themselves, before or after their elements.
    case Kind::list:
      return save_list(object, depth);
    case Kind::tuple:
      return save_tuple(object, depth);
    case Kind::dict:
    case Kind::ordered_dict:
      return save_dict(object, depth);
    case Kind::set:
    case Kind::frozenset:
      return save_set(object, depth);
    case Kind::exception:
      return save_exception(object, depth);
    default:
      return save_leaf(object);
  }
}

void Writer::save_leaf(const Object& object) {
  switch (object.kind()) {
    case Kind::integer:
      forms_.big_int(object.as_big_int());
      break;
    case Kind::complex:
      forms_.complex(object.as_complex());
      break;
    case Kind::string:
      save_text(object.as_string());
      break;
    case Kind::bytes:
      forms_.bytes(object.as_bytes());
      break;
    case Kind::bytearray:
      forms_.bytearray(object.as_bytes());
      break;
    case Kind::numpy_dtype:
      forms_.dtype(object.as_dtype());
      break;
    case Kind::array:
      save_array(object.as_array());
      break;
    case Kind::numpy_scalar:
      forms_.scalar(object.as_array());
      break;
    case Kind::date:
      forms_.date(object.as_date());
      break;
    case Kind::time:
      forms_.time(object.as_time());
      break;
    case Kind::datetime:
      forms_.datetime(object.as_datetime());
      break;
    case Kind::timedelta:
      forms_.timedelta(object.as_timedelta());
      break;
    case Kind::timezone:
      forms_.timezone(object.as_timezone());
      break;
    case Kind::slice:
      forms_.slice(object.as_slice());
      break;
    case Kind::manager_token:
      detail::ProxyForms(out_, forms_).token(object.as_token());
      break;
    case Kind::proxy:
      detail::ProxyForms(out_, forms_).proxy(object.as_proxy());
      break;
    case Kind::shared_handle:
      detail::ConnectionForms(out_, forms_).shared_handle(object.as_shared_handle());
      break;
    case Kind::connection:
      detail::ConnectionForms(out_, forms_).connection(object.as_connection());
      break;
    default:
      throw std::logic_error("dumps: a value of no known kind");
  }
  memoize(object);
}

bool Writer::save_from_memo(const Object& object) {
  if (memo_.empty()) return false;
  const auto found = memo_.find(Access::node(object).get());
  if (found == memo_.end()) return false;
  if (found->second <= std::numeric_limits<std::uint8_t>::max()) {
    out_.put(Op::binget);
    out_.put_number(static_cast<std::uint8_t>(found->second));
  } else {
    out_.put(Op::long_binget);
    out_.put_number(found->second);
  }
  return true;
}

void Writer::memoize(const Object& object) {
  const auto node = Access::node(object);
  const bool alone = Access::use_count(object) <= 2;  // `object` and `node`
  if (alone && !node->weakly_referenced && open_recursive_tuples_ == 0) return;
  const auto index = memo_base_ + static_cast<std::uint32_t>(memo_.size());
  memo_.emplace(node.get(), index);
  if (out_.protocol() >= 4) {
    out_.put(Op::memoize);
  } else if (index <= std::numeric_limits<std::uint8_t>::max()) {
    out_.put(Op::binput);
    out_.put_number(static_cast<std::uint8_t>(index));
  } else {
    out_.put(Op::long_binput);
    out_.put_number(index);
  }
}

void Writer::save_text(std::string_view text) {
  if (!is_text(text)) throw Error(std::errc::illegal_byte_sequence, "write", "str");
  forms_.text(text);
}

void Writer::save_array(const NdBuffer& array) {
  if (buffers_ == nullptr) return forms_.array(array.dtype(), array.shape(), array.order(), array.bytes());
  forms_.array_beside(array.dtype(), array.shape(), array.order());
  buffers_->push_back(array.buffer());
}

template <class Elements, class Save>
void Writer::save_batches(const Elements& elements, Op one, Op many, const Save& save_element) {
  for (std::size_t start = 0; start < elements.size(); start += batch) {
    const auto part = elements.subspan(start, std::min(batch, elements.size() - start));
    if (part.size() > 1 || one == many) out_.put(Op::mark);
    for (const auto& each : part) save_element(each);
    out_.put(part.size() > 1 ? many : one);
  }
}

void Writer::save_list(const Object& list, std::size_t depth) {
  out_.put(Op::empty_list);
  memoize(list);  // before its elements, which may mention it
  save_batches(list.items(), Op::append, Op::appends, [&](const Object& item) { save(item, depth + 1); });
}

void Writer::save_dict(const Object& dict, std::size_t depth) {
  if (dict.kind() == Kind::ordered_dict) {
    forms_.global("collections", "OrderedDict");
    out_.put(Op::empty_tuple);
    out_.put(Op::reduce);
  } else {
    out_.put(Op::empty_dict);
  }
  memoize(dict);
  save_batches(dict.entries(), Op::setitem, Op::setitems, [&](const Object::Pair& entry) {
    save(entry.first, depth + 1);
    save(entry.second, depth + 1);
  });
}

void Writer::save_tuple(const Object& tuple, std::size_t depth) {
  const auto items = tuple.items();
  if (items.size() > 3) out_.put(Op::mark);
  const bool recursive = Access::node(tuple)->weakly_referenced;
  open_recursive_tuples_ += recursive ? 1 : 0;
  for (const Object& item : items) save(item, depth + 1);
  open_recursive_tuples_ -= recursive ? 1 : 0;
  // An element may have led back here, and written this tuple already: then that one is taken.
  if (!memo_.empty() && memo_.contains(Access::node(tuple).get())) {
    if (items.size() > 3) {
      out_.put(Op::pop_mark);
    } else {
      for (std::size_t i = 0; i < items.size(); ++i) out_.put(Op::pop);
    }
    (void)save_from_memo(tuple);
    return;
  }
  if (items.size() > 3) {
    out_.put(Op::tuple);
  } else {
    forms_.close_tuple(items.size());
  }
  memoize(tuple);
}

void Writer::save_set(const Object& set, std::size_t depth) {
  const auto save_member = [&](const Object& member) { save(member, depth + 1); };
  if (out_.protocol() >= 4 && set.kind() == Kind::set) {
    out_.put(Op::empty_set);
    memoize(set);
    return save_batches(set.items(), Op::additems, Op::additems, save_member);
  }
  if (out_.protocol() >= 4) {
    out_.put(Op::mark);
    for (const Object& member : set.items()) save_member(member);
    out_.put(Op::frozenset);
  } else {
    forms_.global("builtins", kind_name(set.kind()));
    out_.put(Op::empty_list);
    save_batches(set.items(), Op::append, Op::appends, save_member);
    forms_.close_tuple(1);
    out_.put(Op::reduce);
  }
  memoize(set);
}

// Python 2 had its exceptions in a module of their own, where protocol 2 looks for them.
void Writer::save_exception_type(const detail::ExceptionType& type) {
  const bool old = out_.protocol() < 3 && type.in_python2;
  forms_.global(old ? "exceptions" : type.module(), type.name());
}

void Writer::save_exception(const Object& exception, std::size_t depth) {
  const auto& node = Access::as<detail::ExceptionNode>(exception);
  save_exception_type(node.type);
  const auto arguments = node.arguments();
  if (arguments.size() > 3) out_.put(Op::mark);
  open_recursive_tuples_ += node.weakly_referenced ? 1 : 0;
  for (const Object& each : arguments) save(each, depth + 1);
  open_recursive_tuples_ -= node.weakly_referenced ? 1 : 0;
  if (arguments.size() > 3) {
    out_.put(Op::tuple);
  } else {
    forms_.close_tuple(arguments.size());
  }
  // An argument may have led back here, and written this exception already, as with tuples.
  if (!memo_.empty() && memo_.contains(&node)) {
    out_.put(Op::pop);
    out_.put(Op::pop);
    (void)save_from_memo(exception);
    return;
  }
  out_.put(Op::reduce);
  memoize(exception);  // before its attributes, which may mention it
  if (node.attributes().is_none()) return;
  save(node.attributes(), depth + 1);
  out_.put(Op::build);
}

}  // namespace

std::uint32_t detail::dump_nested(std::vector<std::byte>& out, const Object& object, std::uint32_t memo_count,
                                  int protocol, Buffers* buffers) {
  return Writer(out, protocol, buffers, false).run_nested(object, memo_count);
}

void detail::check_protocol(int protocol, const Buffers* buffers) {
  if (protocol < oldest_protocol || protocol > default_protocol) {
    throw std::logic_error("write a pickle of protocol " + std::to_string(protocol) + ": it is not one of 2, 3, 4, 5");
  }
  if (buffers != nullptr && protocol < 5) {
    throw std::logic_error("write a pickle of protocol " + std::to_string(protocol) +
                           " with buffers beside it: that takes protocol 5");
  }
}

void dumps_to(std::vector<std::byte>& out, const Object& object, int protocol, Buffers* buffers) {
  detail::check_protocol(protocol, buffers);
  const std::size_t bytes_before = out.size();
  const std::size_t buffers_before = buffers != nullptr ? buffers->size() : 0;
  try {
    Writer(out, protocol, buffers).run(object);
  } catch (...) {
    out.resize(bytes_before);
    if (buffers != nullptr) buffers->resize(buffers_before);
    throw;
  }
}

std::vector<std::byte> dumps(const Object& object, int protocol, Buffers* buffers) {
  std::vector<std::byte> out;
  dumps_to(out, object, protocol, buffers);
  return out;
}

}  // namespace runrig::pickle
