#include "reader.hpp"

#include <algorithm>
#include <bit>

#include "node.hpp"
#include "runrig/sync/error.hpp"
#include "scalars.hpp"
#include "text.hpp"

namespace runrig::pickle::detail {
namespace {

constexpr std::uint8_t highest_protocol = 5;

std::string describe(Op op) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto code = static_cast<std::uint8_t>(op);
  return {'0', 'x', digits[code >> 4], digits[code & 0xFU]};
}

bool is_dict(const Object& object) { return object.kind() == Kind::dict || object.kind() == Kind::ordered_dict; }
/// Can hold something that was made after it, and so itself.
bool is_mutable_container(const Object& object) {
  return is_dict(object) || object.kind() == Kind::list || object.kind() == Kind::set ||
         object.kind() == Kind::exception;
}

}  // namespace

Reader::Reader(std::span<const std::byte> bytes, const Limits& limits, std::span<const Buffer> buffers)
    : cursor_(bytes),
      limits_(limits),
      // In old protocols a bytearray is made from bytes that are made from text: each byte is copied twice.
      budget_(limits.max_memory, 2 * std::min(bytes.size(), limits.max_bytes) + total_bytes(buffers)),
      constructor_(budget_, hasher_),
      buffers_(buffers) {
  if (bytes.size() > limits.max_bytes) {
    throw Refused(std::to_string(bytes.size()) + " bytes, of which " + std::to_string(limits.max_bytes) +
                  " are allowed (Limits::max_bytes)");
  }
}

Reader::~Reader() {
  // After an error a container may still hold itself. finish() leaves nothing here.
  for (const Object& object : shared_) {
    Node& node = *Access::raw_node(object);
    if (is_dict(object)) {
      bury(static_cast<DictNode&>(node).entries);
      static_cast<DictNode&>(node).entries.clear();
    } else if (object.kind() == Kind::set) {
      bury(static_cast<SetNode&>(node).members);
      static_cast<SetNode&>(node).members.clear();
    } else {
      bury(static_cast<SequenceNode&>(node).items);
      static_cast<SequenceNode&>(node).items.clear();
    }
  }
  bury(stack_);
}

Object Reader::run() {
  for (;;) {
    operation_ = cursor_.begin_item();
    const Op op{cursor_.number<std::uint8_t>()};
    if (op == Op::stop) return finish();
    execute(op);
  }
}

Object Reader::finish() {
  Object result = pop();
  if (!stack_.empty() || !marks_.empty()) throw Refused("more than one object at the end");
  settle(result, limits_.max_depth);
  for (const Object& object : shared_) settle(object, limits_.max_depth);  // also what the result does not hold
  shared_.clear();
  return result;
}

void Reader::execute(Op op) {
  if (execute_number(op) || execute_bytes(op) || execute_container(op) || execute_stack(op)) return;
  switch (op) {
    case Op::proto:
      if (operation_ != 0) throw Refused("a protocol number in the middle");
      if (const auto version = cursor_.number<std::uint8_t>(); version > highest_protocol) {
        throw Refused("protocol " + std::to_string(version) + ", which is not known");
      }
      return;
    case Op::frame:
      return cursor_.enter_frame(cursor_.number<std::uint64_t>());
    case Op::global: {
      const auto module = cursor_.line();
      return push_global(module, cursor_.line());
    }
    case Op::stack_global:
      return stack_global();
    case Op::reduce:
      return reduce();
    case Op::build:
      return build();
    case Op::newobj:
      return new_object();
    case Op::newobj_ex:
      throw Refused("an instance of a class, which is not known");
    case Op::next_buffer:
      return push_buffer();
    case Op::readonly_buffer:
      return make_read_only();
    default:
      throw Refused("unknown operation " + describe(op));
  }
}

bool Reader::execute_number(Op op) {
  switch (op) {
    case Op::none:
      push({});
      return true;
    case Op::newtrue:
      push(true);
      return true;
    case Op::newfalse:
      push(false);
      return true;
    case Op::binint:
      push(std::bit_cast<std::int32_t>(cursor_.number<std::uint32_t>()));
      return true;
    case Op::binint1:
      push(cursor_.number<std::uint8_t>());
      return true;
    case Op::binint2:
      push(cursor_.number<std::uint16_t>());
      return true;
    case Op::long1:
      push_long(cursor_.number<std::uint8_t>());
      return true;
    case Op::long4:
      push_long(cursor_.number<std::uint32_t>());
      return true;
    case Op::binfloat:
      push(std::bit_cast<double>(__builtin_bswap64(cursor_.number<std::uint64_t>())));
      return true;
    case Op::integer_text:
      push(parse_integer_line(cursor_.line()));
      return true;
    case Op::long_text:
      push(parse_long_line(cursor_.line()));
      return true;
    case Op::real_text:
      push(parse_real_line(cursor_.line()));
      return true;
    default:
      return false;
  }
}

bool Reader::execute_bytes(Op op) {
  switch (op) {
    case Op::short_binunicode:
      push_text(cursor_.number<std::uint8_t>());
      return true;
    case Op::binunicode:
      push_text(cursor_.number<std::uint32_t>());
      return true;
    case Op::binunicode8:
      push_text(cursor_.number<std::uint64_t>());
      return true;
    case Op::unicode_text:
      budget_.charge_node<TextNode>();
      push(parse_unicode_line(cursor_.line()));
      return true;
    case Op::string_text:
      push_old_text(parse_string_line(cursor_.line()));
      return true;
    case Op::binstring:
      push_old_text(cursor_.take_text(cursor_.number<std::uint32_t>()));
      return true;
    case Op::short_binstring:
      push_old_text(cursor_.take_text(cursor_.number<std::uint8_t>()));
      return true;
    case Op::short_binbytes:
      push_bytes(Kind::bytes, cursor_.number<std::uint8_t>());
      return true;
    case Op::binbytes:
      push_bytes(Kind::bytes, cursor_.number<std::uint32_t>());
      return true;
    case Op::binbytes8:
      push_bytes(Kind::bytes, cursor_.number<std::uint64_t>());
      return true;
    case Op::bytearray8:
      push_bytes(Kind::bytearray, cursor_.number<std::uint64_t>());
      return true;
    default:
      return false;
  }
}

bool Reader::execute_container(Op op) {
  switch (op) {
    case Op::empty_list:
      budget_.charge_node<SequenceNode>();
      push(Object::list());
      return true;
    case Op::empty_dict:
      push_dict(0);
      return true;
    case Op::empty_set:
      budget_.charge_node<SetNode>();
      push(Object::set());
      return true;
    case Op::empty_tuple:
      push_tuple(0);
      return true;
    case Op::tuple1:
      push_tuple(1);
      return true;
    case Op::tuple2:
      push_tuple(2);
      return true;
    case Op::tuple3:
      push_tuple(3);
      return true;
    case Op::tuple:
      push_tuple(pop_mark());
      return true;
    case Op::list: {
      budget_.charge_node<SequenceNode>();
      const std::size_t count = pop_mark();
      budget_.charge(count * sizeof(Object));
      push(Object::list(pop_items(count)));
      return true;
    }
    case Op::dict:
      push_dict(pop_mark());
      return true;
    case Op::frozenset:
      push_frozenset(pop_mark());
      return true;
    case Op::append:
      append(1);
      return true;
    case Op::appends:
      append(pop_mark());
      return true;
    case Op::setitem:
      set_items(2);
      return true;
    case Op::setitems:
      set_items(pop_mark());
      return true;
    case Op::additems:
      add_items(pop_mark());
      return true;
    default:
      return false;
  }
}

bool Reader::execute_stack(Op op) {
  switch (op) {
    case Op::mark:
      budget_.grow(marks_, 1);
      marks_.push_back(stack_.size());
      return true;
    case Op::pop:
      // As in Python: with nothing above the mark, the mark goes.
      if (!marks_.empty() && marks_.back() == stack_.size()) {
        marks_.pop_back();
      } else {
        (void)pop();
      }
      return true;
    case Op::pop_mark:
      (void)pop_items(pop_mark());
      return true;
    case Op::dup: {
      const Object object = top();
      share(object);
      push(object);
      return true;
    }
    case Op::memoize:
      put(memo_count_);
      return true;
    case Op::binput:
      put(cursor_.number<std::uint8_t>());
      return true;
    case Op::long_binput:
      put(cursor_.number<std::uint32_t>());
      return true;
    case Op::put_text:
      put(parse_index_line(cursor_.line()));
      return true;
    case Op::binget:
      get(cursor_.number<std::uint8_t>());
      return true;
    case Op::long_binget:
      get(cursor_.number<std::uint32_t>());
      return true;
    case Op::get_text:
      get(parse_index_line(cursor_.line()));
      return true;
    default:
      return false;
  }
}

void Reader::push(Object object) {
  budget_.grow(stack_, 1);
  stack_.push_back(std::move(object));
}

const Object& Reader::top() const {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) throw Refused("takes more objects than there are");
  return stack_.back();
}

Object Reader::pop() {
  (void)top();
  Object object = std::move(stack_.back());
  stack_.pop_back();
  return object;
}

std::vector<Object> Reader::pop_items(std::size_t count) {
  if (count > stack_.size() - (marks_.empty() ? 0 : marks_.back())) throw Refused("takes more objects than there are");
  const auto first = stack_.end() - static_cast<std::ptrdiff_t>(count);
  std::vector<Object> items(std::make_move_iterator(first), std::make_move_iterator(stack_.end()));
  stack_.erase(first, stack_.end());
  return items;
}

std::size_t Reader::pop_mark() {
  if (marks_.empty()) throw Refused("a mark that was not set");
  const std::size_t count = stack_.size() - marks_.back();
  marks_.pop_back();
  return count;
}

const Object& Reader::below(std::size_t count, Kind kind) const {
  const std::size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() - floor <= count) throw Refused("takes more objects than there are");
  const Object& object = stack_[stack_.size() - count - 1];
  if (object.kind() != kind && !(kind == Kind::dict && is_dict(object))) {
    throw Refused("expects a " + std::string(kind_name(kind)) + ", not a " + std::string(kind_name(object.kind())));
  }
  return object;
}

void Reader::push_text(std::uint64_t bytes) {
  const auto text = cursor_.take_text(bytes);
  if (!is_text(text)) throw Refused("a str that is not UTF-8");
  budget_.charge_node<TextNode>();
  push(text);
}

void Reader::push_bytes(Kind kind, std::uint64_t bytes) {
  const auto value = cursor_.take(bytes);
  budget_.charge_node<BytesNode>();
  push(Access::make<BytesNode>(kind, std::vector<std::byte>(value.begin(), value.end())));
}

// Python 2's str, which Python 3 takes for text if it is ASCII.
void Reader::push_old_text(std::string_view text) {
  if (std::ranges::any_of(text, [](char each) { return (static_cast<unsigned char>(each) & 0x80U) != 0; })) {
    throw Refused("a str of Python 2 that is not ASCII");
  }
  budget_.charge_node<TextNode>();
  push(text);
}

void Reader::push_buffer() {
  if (buffers_.empty()) throw Refused("a buffer sent out of band, which is not there");
  budget_.charge_node<BytesNode>();
  push(Access::make<BytesNode>(Kind::bytearray, buffers_.front()));
  buffers_ = buffers_.subspan(1);
}

void Reader::make_read_only() {
  // Bytes are read-only already. Made anew each time, they would own one another in a chain as long as the stream,
  // whose end would take a stack as deep.
  if (top().kind() == Kind::bytes) return;
  const Object buffer = pop();
  if (buffer.kind() != Kind::bytearray) {
    throw Refused("makes a " + std::string(kind_name(buffer.kind())) + " read-only, which is no buffer");
  }
  budget_.charge_node<BytesNode>();
  push(Access::make<BytesNode>(Kind::bytes, Buffer{buffer.as_bytes(), Access::node(buffer)}));
}

void Reader::push_long(std::uint64_t bytes) {
  if (bytes > std::numeric_limits<std::int32_t>::max()) throw Refused("an int of negative length");
  const auto value = cursor_.take(bytes);
  if (value.size() > sizeof(std::int64_t)) budget_.charge_node<BigIntNode>();
  push(BigInt::from_bytes(value));
}

void Reader::push_tuple(std::size_t count) {
  budget_.charge_node<SequenceNode>();
  budget_.charge(count * sizeof(Object));
  push(Object::tuple(pop_items(count)));
}

void Reader::push_dict(std::size_t count) {
  budget_.charge_node<DictNode>();
  auto items = pop_items(count);
  push(Object::dict());
  for (auto& item : items) push(std::move(item));
  set_items(count);
}

void Reader::push_frozenset(std::size_t count) {
  budget_.charge_node<SetNode>();
  const Object result = Access::make<SetNode>(Kind::frozenset);
  for (const Object& member : pop_items(count)) constructor_.add_to_set(result, member);
  push(result);
}

void Reader::append(std::size_t count) {
  auto& list = Access::as<SequenceNode>(below(count, Kind::list));
  budget_.grow(list.items, count);
  const auto first = stack_.end() - static_cast<std::ptrdiff_t>(count);
  list.items.insert(list.items.end(), std::make_move_iterator(first), std::make_move_iterator(stack_.end()));
  stack_.erase(first, stack_.end());
}

void Reader::set_items(std::size_t count) {
  const Object dict = below(count, Kind::dict);
  if (count % 2 != 0) throw Refused("a key without a value");
  const std::size_t first = stack_.size() - count;
  for (std::size_t i = first; i < stack_.size(); i += 2) constructor_.add_to_dict(dict, stack_[i], stack_[i + 1]);
  stack_.resize(first);
}

void Reader::add_items(std::size_t count) {
  const Object set = below(count, Kind::set);
  const std::size_t first = stack_.size() - count;
  for (std::size_t i = first; i < stack_.size(); ++i) constructor_.add_to_set(set, stack_[i]);
  stack_.resize(first);
}

void Reader::push_global(std::string_view module, std::string_view name) {
  const auto global = find_global(module, name);
  if (!global) {
    throw Refused("names '" + printable(module) + " " + printable(name) + "', which pickles must not use here");
  }
  budget_.charge_node<GlobalNode>();
  push(Access::make<GlobalNode>(*global));
}

void Reader::stack_global() {
  const Object name = pop();
  const Object module = pop();
  if (name.kind() != Kind::string || module.kind() != Kind::string) throw Refused("a global whose name is no str");
  push_global(module.as_string(), name.as_string());
}

void Reader::reduce() {
  const Object arguments = pop();
  const Object callable = pop();
  if (arguments.kind() != Kind::tuple) throw Refused("arguments that are no tuple");
  if (callable.kind() != kind_global) throw Refused("calls a " + std::string(kind_name(callable.kind())));
  push(constructor_.call(Access::as<GlobalNode>(callable).global, arguments.items()));
}

void Reader::new_object() {
  const Object arguments = pop();
  const Object type = pop();
  if (arguments.kind() != Kind::tuple) throw Refused("arguments that are no tuple");
  if (type.kind() != kind_global) throw Refused("an instance of a " + std::string(kind_name(type.kind())));
  push(constructor_.make_new(Access::as<GlobalNode>(type).global, arguments.items()));
}

void Reader::build() {
  const Object state = pop();
  constructor_.set_state(top(), state);
}

void Reader::put(std::size_t index) {
  // Writers count from 0 or 1, and each place takes two bytes of the stream at least.
  if (index > cursor_.position()) throw Refused("a place in the memo beyond all that came before");
  const Object& object = top();
  if (index >= memo_.size()) {
    budget_.grow(memo_, index + 1 - memo_.size());
    memo_.resize(index + 1);
  }
  if (!memo_[index]) ++memo_count_;
  memo_[index] = object;
}

void Reader::get(std::size_t index) {
  if (index >= memo_.size() || !memo_[index])
    throw Refused("a place in the memo that is empty: " + std::to_string(index));
  const Object object = *memo_[index];
  share(object);
  push(object);
}

void Reader::share(const Object& object) {
  if (!is_mutable_container(object)) return;
  budget_.grow(shared_, 1);
  shared_.push_back(object);
}

}  // namespace runrig::pickle::detail

namespace runrig::pickle {

std::pair<Object, std::size_t> load_first(std::span<const std::byte> bytes, const Limits& limits,
                                          std::span<const Buffer> buffers) {
  std::size_t operation = 0;
  try {
    detail::Reader reader(bytes, limits, buffers);
    try {
      Object object = reader.run();
      return {std::move(object), reader.position()};
    } catch (const detail::Refused&) {
      operation = reader.operation();
      throw;
    }
  } catch (const detail::Refused& refused) {
    throw FormatError("read", limits.source, "at byte " + std::to_string(operation) + ": " + refused.what());
  }
}

Object loads(std::span<const std::byte> bytes, const Limits& limits, std::span<const Buffer> buffers) {
  auto [object, length] = load_first(bytes, limits, buffers);
  if (length != bytes.size()) {
    throw FormatError(
        "read", limits.source,
        "at byte " + std::to_string(length) + ": " + std::to_string(bytes.size() - length) + " bytes after the end");
  }
  return object;
}

}  // namespace runrig::pickle
