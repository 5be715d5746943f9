#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <memory>
#include <numbers>
#include <optional>

#include "expression_text.hpp"
#include "expression_tree.hpp"

namespace runrig {
namespace detail {
namespace {

struct BinaryOperator {
  std::string_view symbol;
  int level;  // higher binds tighter
  Operation operation;
};
constexpr int comparison_level = 3;
constexpr std::array<BinaryOperator, 19> binary_operators{{
    {"||", 1, Operation::logical_or},  {"&&", 2, Operation::logical_and}, {"<", 3, Operation::less},
    {"<=", 3, Operation::less_equal},  {">", 3, Operation::greater},      {">=", 3, Operation::greater_equal},
    {"==", 3, Operation::equal},       {"!=", 3, Operation::not_equal},   {"|", 4, Operation::bit_or},
    {"^", 5, Operation::bit_xor},      {"&", 6, Operation::bit_and},      {"<<", 7, Operation::left_shift},
    {">>", 7, Operation::right_shift}, {"+", 8, Operation::add},          {"-", 8, Operation::subtract},
    {"*", 9, Operation::multiply},     {"/", 9, Operation::divide},       {"//", 9, Operation::floor_divide},
    {"%", 9, Operation::remainder},
}};

const BinaryOperator* find_binary(const Token& token) noexcept {
  if (token.kind != TokenKind::symbol) return nullptr;
  const auto* found = std::find_if(binary_operators.begin(), binary_operators.end(),
                                   [&](const BinaryOperator& each) { return each.symbol == token.text; });
  return found == binary_operators.end() ? nullptr : found;
}

std::optional<Operation> find_unary(const Token& token) noexcept {
  if (token.kind != TokenKind::symbol) return std::nullopt;
  if (token.text == "-") return Operation::negative;
  if (token.text == "+") return Operation::positive;
  if (token.text == "~") return Operation::invert;
  if (token.text == "!") return Operation::logical_not;
  return std::nullopt;
}

bool is_symbol(const Token& token, std::string_view symbol) noexcept {
  return token.kind == TokenKind::symbol && token.text == symbol;
}

std::optional<Literal> find_constant(std::string_view name) noexcept {
  if (name == "True") return Literal::of_boolean(true);
  if (name == "False") return Literal::of_boolean(false);
  if (name == "pi") return Literal::of_real(std::numbers::pi);
  if (name == "e") return Literal::of_real(std::numbers::e);
  if (name == "inf") return Literal::of_real(std::numeric_limits<double>::infinity());
  if (name == "nan") return Literal::of_real(std::numeric_limits<double>::quiet_NaN());
  return std::nullopt;
}

const Function* find_function(std::string_view name) noexcept {
  const auto known = functions();
  const auto found = std::lower_bound(known.begin(), known.end(), name,
                                      [](const Function& each, std::string_view sought) { return each.name < sought; });
  return found != known.end() && found->name == name ? &*found : nullptr;
}

/// What to write instead of a word or sign that other languages have.
std::string_view hint_for(std::string_view found) noexcept {
  if (found == "and") return "; write && (or & between booleans)";
  if (found == "or") return "; write || (or | between booleans)";
  if (found == "not") return "; write !";
  if (found == "if" || found == "?") return "; write where(condition, a, b)";
  if (found == "=") return "; to compare, write ==";
  if (found == "<>") return "; write !=";
  if (found == "[") return "; elements are selected where the dataset is named, not in the expression";
  return {};
}

/// Precedence climbing. Recursion is bounded: every way down passes enter(), which counts.
class Parser {
 public:
  Parser(std::string_view text, ExpressionTree& tree) : tree_(tree), tokens_(text) {}

  void parse() {
    if (tokens_.peek().kind == TokenKind::end) throw ExpressionError(tokens_.text(), 1, "empty: nothing to evaluate");
    binary(1);
    const Token& rest = tokens_.peek();
    if (is_symbol(rest, ")")) fail(rest, "this ')' closes nothing");
    if (rest.kind != TokenKind::end) {
      fail(rest, "expected an operator, found " + describe(rest) + std::string(hint_for(rest.text)));
    }
  }

 private:
  [[noreturn]] void fail(const Token& at, std::string_view why) const {
    throw ExpressionError(tokens_.text(), at.column, why);
  }

  struct Depth {
    explicit Depth(std::size_t& counter) : count(counter) { ++count; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    ~Depth() { --count; }
    std::size_t& count;
  };
  void enter(const Token& at) const {
    if (depth_ >= Expression::max_nesting) {
      fail(at, "nested more than " + std::to_string(Expression::max_nesting) + " deep");
    }
  }

  std::uint32_t add(Operation operation, const Token& at, std::array<std::uint32_t, 3> arguments = {}) {
    if (tree_.nodes.size() + cut_terms_ >= Expression::max_terms) {
      fail(at, "too long: more than " + std::to_string(Expression::max_terms) + " operations and operands");
    }
    tree_.nodes.push_back({operation, static_cast<std::uint32_t>(at.column), arguments});
    return static_cast<std::uint32_t>(tree_.nodes.size() - 1);
  }

  std::uint32_t add_literal(const Literal& literal, const Token& at) {
    tree_.literals.push_back(literal);
    return add(Operation::literal, at, {static_cast<std::uint32_t>(tree_.literals.size() - 1)});
  }

  std::uint32_t binary(int level) {
    std::uint32_t left = unary();
    for (;;) {
      const BinaryOperator* found = find_binary(tokens_.peek());
      if (found == nullptr || found->level < level) return left;
      const Token sign = tokens_.take();
      const std::uint32_t right = binary(found->level + 1);
      left = add(found->operation, sign, {left, right});
      const Token& next = tokens_.peek();
      const BinaryOperator* following = find_binary(next);
      if (found->level == comparison_level && following != nullptr && following->level == comparison_level) {
        fail(next, "comparisons cannot be chained; write (a < b) & (b < c), or a < b && b < c");
      }
    }
  }

  std::uint32_t unary() {
    enter(tokens_.peek());
    const Depth depth(depth_);
    const std::optional<Operation> operation = find_unary(tokens_.peek());
    if (!operation) return power();
    const Token sign = tokens_.take();
    const std::uint32_t argument = unary();
    return add(*operation, sign, {argument});
  }

  std::uint32_t power() {
    const std::uint32_t base = atom();
    if (!is_symbol(tokens_.peek(), "**")) return base;
    const Token sign = tokens_.take();
    const std::uint32_t exponent = unary();  // to the right, and a sign before the exponent belongs to it
    return add(Operation::power, sign, {base, exponent});
  }

  std::uint32_t atom() {
    const Token token = tokens_.take();
    switch (token.kind) {
      case TokenKind::number: {
        const LiteralResult number = read_number(token.text);
        if (!number.literal) fail(token, number.why);
        return add_literal(*number.literal, token);
      }
      case TokenKind::name:
        return named(token);
      case TokenKind::symbol:
        if (token.text == "(") return parenthesised(token);
        break;
      case TokenKind::end:
        break;
    }
    fail(token, "expected a value, found " + describe(token) + std::string(hint_for(token.text)));
  }

  std::uint32_t parenthesised(const Token& open) {
    const std::uint32_t inner = binary(1);
    close(open);
    return inner;
  }

  void close(const Token& open) {
    const Token& next = tokens_.peek();
    if (is_symbol(next, ")")) {
      (void)tokens_.take();
      return;
    }
    if (next.kind == TokenKind::end) fail(next, "missing ')' for the '(' in column " + std::to_string(open.column));
    fail(next, "expected an operator or ')', found " + describe(next) + std::string(hint_for(next.text)));
  }

  std::uint32_t named(const Token& token) {
    std::string_view name = token.text;
    const std::size_t point = name.find('.');
    const bool of_module = point != std::string_view::npos;
    if (of_module) name.remove_prefix(point + 1);
    const bool called = is_symbol(tokens_.peek(), "(");
    if (const Function* function = find_function(name)) {
      if (called) return call(token, *function);
      fail(token, "'" + std::string(name) + "' is a function; write " + std::string(name) + "(...)");
    }
    if (const ReductionFunction* function = find_reduction(name); function != nullptr && called) {
      return reduction(token, *function);
    }
    if (called || of_module) unknown_function(token, name, called);
    if (const std::string_view hint = hint_for(name); !hint.empty()) {
      fail(token, "expected a value, found " + describe(token) + std::string(hint));
    }
    if (const std::optional<Literal> constant = find_constant(name)) return add_literal(*constant, token);
    return variable(token);
  }

  [[noreturn]] void unknown_function(const Token& token, std::string_view name, bool called) {
    std::vector<std::string_view> known;
    for (const Function& each : functions()) known.push_back(each.name);
    for (const ReductionFunction& each : reduction_functions()) known.push_back(each.name);
    std::string why = (called ? "unknown function " : "unknown name ") + quoted(token.text);
    if (find_constant(name)) {
      why = quoted(token.text) + " is a number, not a function";
    } else if (const std::string_view near = nearest(name, known); !near.empty()) {
      why += "; did you mean " + std::string(near) + "?";
    } else {
      why += "; there are";
      for (const std::string_view each : known) why.append(" ").append(each);
    }
    fail(token, why);
  }

  std::uint32_t call(const Token& name, const Function& function) {
    const Token open = tokens_.take();
    std::array<std::uint32_t, 3> arguments{};
    std::size_t count = 0;
    if (!is_symbol(tokens_.peek(), ")")) {
      for (;;) {
        const std::uint32_t argument = binary(1);
        if (count < arguments.size()) arguments[count] = argument;
        ++count;
        if (!is_symbol(tokens_.peek(), ",")) break;
        (void)tokens_.take();
      }
    }
    close(open);
    if (count != function.arguments) {
      const std::string wanted = std::to_string(function.arguments);
      fail(name, std::string(function.name) + "() takes " + wanted +
                     (function.arguments == 1 ? " argument" : " arguments") + ", not " + std::to_string(count));
    }
    if (function.operation == Operation::cast) arguments[1] = static_cast<std::uint32_t>(function.dtype);
    return add(function.operation, name, arguments);
  }

  /// "mean(x, axis=0)": what was read of the argument becomes a tree of its own.
  std::uint32_t reduction(const Token& name, const ReductionFunction& function) {
    const Token open = tokens_.take();
    const std::size_t first_node = tree_.nodes.size();
    const std::size_t first_reduction = tree_.reductions.size();
    (void)binary(1);
    ReductionNode node;
    node.operation = function.operation;
    node.nan = function.nan;
    node.argument = cut_off(first_node, first_reduction);
    while (is_symbol(tokens_.peek(), ",")) {
      (void)tokens_.take();
      keyword(node);
    }
    close(open);
    const bool place = function.operation == Reduction::argmin || function.operation == Reduction::argmax;
    if (place && node.axes && node.axes->size() != 1) {
      fail(name, std::string(function.name) + "() takes one axis, or none for all");
    }
    // Those of the arguments count as well: the limit is on what a text can ask for.
    cut_terms_ += node.argument->nodes.size();
    tree_.reductions.push_back(std::move(node));
    return add(Operation::reduction, name, {static_cast<std::uint32_t>(tree_.reductions.size() - 1)});
  }

  std::shared_ptr<const ExpressionTree> cut_off(std::size_t first_node, std::size_t first_reduction) {
    auto argument = std::make_shared<ExpressionTree>();
    argument->text = tree_.text;
    argument->literals = tree_.literals;
    argument->nodes.assign(tree_.nodes.begin() + static_cast<std::ptrdiff_t>(first_node), tree_.nodes.end());
    tree_.nodes.resize(first_node);
    std::move(tree_.reductions.begin() + static_cast<std::ptrdiff_t>(first_reduction), tree_.reductions.end(),
              std::back_inserter(argument->reductions));
    tree_.reductions.resize(first_reduction);
    const auto use = [&](std::size_t variable, std::uint32_t column) {
      const auto found = std::find(argument->variables.begin(), argument->variables.end(), tree_.variables[variable]);
      if (found == argument->variables.end()) {
        argument->variables.push_back(tree_.variables[variable]);
        argument->variable_columns.push_back(column);
        return static_cast<std::uint32_t>(argument->variables.size() - 1);
      }
      return static_cast<std::uint32_t>(found - argument->variables.begin());
    };
    for (Node& node : argument->nodes) {
      if (node.operation == Operation::literal) continue;
      if (node.operation == Operation::variable) {
        node.arguments[0] = use(node.arguments[0], node.column);
      } else if (node.operation == Operation::reduction) {
        node.arguments[0] -= static_cast<std::uint32_t>(first_reduction);
        const ExpressionTree& inner = *argument->reductions[node.arguments[0]].argument;
        for (std::size_t i = 0; i < inner.variables.size(); ++i) {
          const auto known = std::find(tree_.variables.begin(), tree_.variables.end(), inner.variables[i]);
          (void)use(static_cast<std::size_t>(known - tree_.variables.begin()), inner.variable_columns[i]);
        }
      } else {
        // The second argument of a cast is a type.
        const std::size_t count = node.operation == Operation::cast ? 1 : node.arguments.size();
        for (std::size_t i = 0; i < count; ++i) {
          if (node.arguments[i] >= first_node) node.arguments[i] -= static_cast<std::uint32_t>(first_node);
        }
      }
    }
    return argument;
  }

  void keyword(ReductionNode& node) {
    const Token name = tokens_.take();
    const bool known = name.kind == TokenKind::name && (name.text == "axis" || name.text == "keepdims");
    if (!known || !is_symbol(tokens_.peek(), "=")) {
      fail(name, "expected axis=... or keepdims=True, found " + describe(name));
    }
    (void)tokens_.take();
    if (name.text == "keepdims") {
      const Token value = tokens_.take();
      if (value.text != "True" && value.text != "False") fail(value, "keepdims is True or False");
      node.keep_axes = value.text == "True";
      return;
    }
    std::vector<std::int64_t>& axes = node.axes.emplace();
    if (!is_symbol(tokens_.peek(), "(")) {
      axes.push_back(axis());
      return;
    }
    const Token open = tokens_.take();
    while (!is_symbol(tokens_.peek(), ")")) {
      axes.push_back(axis());
      if (!is_symbol(tokens_.peek(), ",")) break;
      (void)tokens_.take();
    }
    close(open);
  }

  std::int64_t axis() {
    const bool negative = is_symbol(tokens_.peek(), "-");
    if (negative) (void)tokens_.take();
    const Token number = tokens_.take();
    const LiteralResult value = number.kind == TokenKind::number ? read_number(number.text) : LiteralResult{};
    if (!value.literal || value.literal->kind != LiteralKind::integer || value.literal->integer > 99) {
      fail(number, "expected the number of an axis, found " + describe(number));
    }
    const auto result = static_cast<std::int64_t>(value.literal->integer);
    return negative ? -result : result;
  }

  std::uint32_t variable(const Token& token) {
    const auto found = std::find(tree_.variables.begin(), tree_.variables.end(), token.text);
    const auto index = static_cast<std::uint32_t>(found - tree_.variables.begin());
    if (found == tree_.variables.end()) {
      tree_.variables.emplace_back(token.text);
      tree_.variable_columns.push_back(static_cast<std::uint32_t>(token.column));
    }
    return add(Operation::variable, token, {index});
  }

  ExpressionTree& tree_;
  Tokens tokens_;
  std::size_t depth_ = 0;
  std::size_t cut_terms_ = 0;  // of arguments of reductions
};

}  // namespace
}  // namespace detail

Expression Expression::parse(std::string_view text) {
  const auto tree = std::make_shared<detail::ExpressionTree>();
  tree->text = text;
  detail::Parser(tree->text, *tree).parse();
  Expression result;
  result.tree_ = tree;
  return result;
}

const std::vector<std::string>& Expression::variables() const noexcept { return tree_->variables; }

std::vector<InnerReduction> Expression::reductions() const {
  std::vector<InnerReduction> result;
  for (const detail::ReductionNode& each : tree_->reductions) {
    InnerReduction reduction;
    reduction.operation = each.operation;
    reduction.nan = each.nan;
    reduction.axes = each.axes;
    reduction.keep_axes = each.keep_axes;
    reduction.argument.tree_ = each.argument;
    result.push_back(std::move(reduction));
  }
  return result;
}

Shape InnerReduction::result_shape(const ReductionAxes& of) const {
  if (!keep_axes) return of.kept;
  Shape result = of.shape;
  for (std::size_t axis = 0; axis < result.rank(); ++axis) {
    if (of.reduced[axis]) result[axis] = 1;
  }
  return result;
}

bool Expression::reads_variable(std::size_t index) const {
  return std::any_of(tree_->nodes.begin(), tree_->nodes.end(), [&](const detail::Node& node) {
    return node.operation == detail::Operation::variable && node.arguments[0] == index;
  });
}

bool Expression::is_variable() const noexcept {
  return tree_->nodes.size() == 1 && tree_->nodes[0].operation == detail::Operation::variable;
}

std::string_view Expression::text() const noexcept { return tree_->text; }

void Expression::check_variables(std::span<const std::string> known) const {
  for (std::size_t i = 0; i < tree_->variables.size(); ++i) {
    const std::string& name = tree_->variables[i];
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::vector<std::string_view> candidates(known.begin(), known.end());
    for (const detail::Function& each : detail::functions()) candidates.push_back(each.name);
    std::string why = "unknown name " + detail::quoted(name);
    if (const std::string_view near = detail::nearest(name, candidates); !near.empty()) {
      why += "; did you mean " + std::string(near) + "?";
    } else if (!known.empty()) {
      why += "; there are";
      for (const std::string& each : known) why.append(" ").append(each);
    }
    throw ExpressionError(tree_->text, tree_->variable_columns[i], why);
  }
}

std::vector<std::string_view> Expression::function_names() {
  std::vector<std::string_view> names;
  for (const detail::Function& each : detail::functions()) names.push_back(each.name);
  for (const detail::ReductionFunction& each : detail::reduction_functions()) names.push_back(each.name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace runrig
