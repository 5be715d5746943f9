#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "exception_types.hpp"
#include "global.hpp"
#include "key_index.hpp"
#include "runrig/channel/object.hpp"
#include "runrig/channel/proxy_state.hpp"
#include "runrig/channel/shared_handle.hpp"

namespace runrig::pickle::detail {

/// Stands on the reader's stack only, for a class or function that a stream named; loads() never returns one.
inline constexpr Kind kind_global = Kind{255};

/// Drops `values` without recursing: containers that die with them are taken apart one by one, however deeply they
/// are nested.
void bury(std::vector<Object>& values) noexcept;
void bury(std::vector<Object::Pair>& values) noexcept;

/// What handles to one value share.
struct Node {
  explicit Node(Kind node_kind) noexcept : kind(node_kind) {}
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  virtual ~Node() = default;

  const Kind kind;
  bool weakly_referenced = false;  // a back reference exists or existed: worth a place in the memo
  // The reader's, while it alone has the node: how far it has looked into it, and how deep it is.
  enum class Visit : std::uint8_t { unseen, open, done } visit = Visit::unseen;
  std::uint32_t height = 0;
};

struct BigIntNode : Node {
  explicit BigIntNode(BigInt number) : Node(Kind::integer), value(std::move(number)) {}
  BigInt value;
};
struct ComplexNode : Node {
  explicit ComplexNode(std::complex<double> number) : Node(Kind::complex), value(number) {}
  std::complex<double> value;
};
struct TextNode : Node {
  explicit TextNode(std::string text) : Node(Kind::string), value(std::move(text)) {}
  std::string value;
};
/// Bytes of its own, or such as lie elsewhere: what came beside a pickle.
struct BytesNode : Node {
  BytesNode(Kind node_kind, std::vector<std::byte> bytes)
      : Node(node_kind), storage(std::move(bytes)), value(storage) {}
  BytesNode(Kind node_kind, Buffer buffer) : Node(node_kind), value(buffer.bytes), owner(std::move(buffer.owner)) {}
  const std::vector<std::byte> storage;
  const std::span<const std::byte> value;
  const std::shared_ptr<const void> owner;
};
struct SequenceNode : Node {  // list, tuple
  SequenceNode(Kind node_kind, std::vector<Object> elements) : Node(node_kind), items(std::move(elements)) {}
  ~SequenceNode() override { bury(items); }
  std::vector<Object> items;
};
/// Its items are the arguments and, last, the attributes: a dict or None.
struct ExceptionNode : SequenceNode {
  /// Without attributes, for which None stands.
  ExceptionNode(const ExceptionType& of, std::vector<Object> arguments)
      : SequenceNode(Kind::exception, std::move(arguments)), type(of) {
    items.emplace_back();
  }
  ExceptionNode(const ExceptionType& of, std::vector<Object> arguments, Object attributes)
      : SequenceNode(Kind::exception, std::move(arguments)), type(of) {
    items.push_back(std::move(attributes));
  }
  [[nodiscard]] std::span<const Object> arguments() const noexcept { return std::span(items).first(items.size() - 1); }
  [[nodiscard]] const Object& attributes() const noexcept { return items.back(); }
  const ExceptionType& type;  // of the table
};
struct DictNode : Node {  // dict, OrderedDict
  explicit DictNode(Kind node_kind) : Node(node_kind) {}
  ~DictNode() override { bury(entries); }
  std::vector<Object::Pair> entries;
  KeyIndex index;
};
struct SetNode : Node {  // set, frozenset
  explicit SetNode(Kind node_kind) : Node(node_kind) {}
  ~SetNode() override { bury(members); }
  std::vector<Object> members;
  KeyIndex index;
};
/// Add what is not there yet.
void add_entry(DictNode& dict, const Fingerprint& key, Object::Pair entry);
void add_member(SetNode& set, const Fingerprint& key, Object member);

struct ArrayNode : Node {  // array, NumPy scalar
  ArrayNode(Kind node_kind, NdBuffer array) : Node(node_kind), value(std::move(array)) {}
  NdBuffer value;
};
template <class Value>
struct ValueNode : Node {  // of datetime, slices, connections
  ValueNode(Kind node_kind, Value plain) : Node(node_kind), value(std::move(plain)) {}
  const Value value;
};
/// An instance that a stream makes first and gives its state then: a manager's token, a shared handle.
template <class Value>
struct StatefulNode : Node {
  StatefulNode(Kind node_kind, Value given, bool has_state)
      : Node(node_kind), value(std::move(given)), complete(has_state) {}
  Value value;
  bool complete;
};
using TokenNode = StatefulNode<Token>;
using SharedHandleNode = StatefulNode<SharedHandle>;
struct ProxyNode : Node {
  explicit ProxyNode(ProxyState proxy) : Node(Kind::proxy), value(std::move(proxy)) {}
  ProxyState value;
};
using ConnectionNode = ValueNode<SharedConnection>;
struct DTypeNode : Node {
  explicit DTypeNode(std::string text) : Node(Kind::numpy_dtype), value(std::move(text)) {}
  std::string value;
};
struct GlobalNode : Node {
  explicit GlobalNode(const Global& named) : Node(kind_global), global(named) {}
  const Global global;
};

/// The way into an Object for reader, writer and hasher.
struct Access {
  [[nodiscard]] static Object wrap(std::shared_ptr<Node> node) {
    Object object;
    object.value_ = std::move(node);
    return object;
  }
  template <class NodeType, class... Arguments>
  [[nodiscard]] static Object make(Arguments&&... arguments) {
    return wrap(std::make_shared<NodeType>(std::forward<Arguments>(arguments)...));
  }
  /// Null for a value that lies in the handle.
  [[nodiscard]] static std::shared_ptr<Node> node(const Object& object) { return object.node(); }
  /// The node of a handle that is no back reference, without counting; null for a value that lies in the handle.
  [[nodiscard]] static Node* raw_node(const Object& object) noexcept {
    const auto* const strong = std::get_if<Object::StrongNode>(&object.value_);
    return strong != nullptr ? strong->get() : nullptr;
  }
  /// How many handles there are; 0 for a back reference or a value that lies in the handle.
  [[nodiscard]] static long use_count(const Object& object) noexcept {
    const auto* const strong = std::get_if<Object::StrongNode>(&object.value_);
    return strong != nullptr ? strong->use_count() : 0;
  }
  /// The caller has looked at the kind.
  template <class NodeType>
  [[nodiscard]] static NodeType& as(const Object& object) {
    return static_cast<NodeType&>(*object.node());
  }
};

/// The one element of a NumPy scalar of a complex type.
[[nodiscard]] std::complex<double> complex_number(DType dtype, std::span<const std::byte> element) noexcept;
/// An element that is no complex number, in the machine's byte order. A bool is whether its byte, which may have any
/// value in a pickle that NumPy did not write, is zero.
template <class T>
[[nodiscard]] T native_element(std::span<const std::byte> bytes) noexcept {
  if constexpr (std::is_same_v<T, bool>) {
    return bytes.front() != std::byte{0};
  } else {
    T element;
    std::memcpy(&element, bytes.data(), sizeof element);
    return element;
  }
}

}  // namespace runrig::pickle::detail
