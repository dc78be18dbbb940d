#include "benign.h"

#include <fmt/format.h>

#include <iterator>
#include <string_view>

#include "payloads.h"

namespace leeward::waf::compared {
namespace {

template <typename List>
std::string_view pick(Random& random, const List& list) {
  return list[random.below(std::size(list))];
}

constexpr std::string_view kKorean[] = {
    "주문하신",    "상품이",   "내일",   "도착할",   "예정입니다", "배송지를", "변경하고",
    "싶습니다",    "환불은",   "언제",   "되나요?",  "감사합니다", "서울시",   "마포구",
    "쿠폰이",      "적용되지", "않아요", "사이즈가", "작아서",     "교환",     "부탁드려요",
    "품절인가요?", "(선물용)", "3개",    "~까지",    "50%",        "할인!",    "문의:"};
constexpr std::string_view kJapanese[] = {
    "ご注文", "ありがとうございます。", "商品が", "届きません",  "東京都", "渋谷区", "サイズ",
    "交換を", "お願いします",           "「青」", "税込1,200円", "です。"};
constexpr std::string_view kChinese[] = {"我的订单", "什么时候", "发货？", "北京市", "朝阳区",
                                         "请",       "尽快",     "处理",   "谢谢！", "尺寸：42"};
constexpr std::string_view kEnglish[] = {
    "the",    "order",   "was",    "delivered", "late,",   "please",  "select", "another",
    "from",   "table",   "where",  "update",    "my",      "address", "and",    "drop",
    "it",     "off",     "at",     "Anna's",    "office;", "don't",   "call",   "(again)",
    "union",  "members", "insert", "coins",     "into",    "slot",    "like",   "new",
    "or",     "either",  "way",    "exec",      "summary", "script",  "style",  "alert",
    "cat",    "is",      "hungry", "&",         "wants",   "more",    "than",   "2-3",
    "having", "fun",     "sleep",  "well",      "version", "1.5!",    "version"};
constexpr std::string_view kEuropean[] = {
    "Größe",    "straße", "façade", "niño", "jalapeño",   "Žižkov",   "œuvre",  "l'été",
    "d'accord", "C'est",  "¿Qué?",  "Łódź", "smørrebrød", "“quoted”", "– dash", "€ 12,50"};
constexpr std::string_view kOther[] = {"Привет",
                                       "заказ",
                                       "№ 15",
                                       "мир!",
                                       "שלום",
                                       "תודה",
                                       "مرحبا",
                                       "شكرا",
                                       "สวัสดี",
                                       "ขอบคุณ",
                                       "Γειά",
                                       "नमस्ते",
                                       "\xf0\x9f\x98\x80",
                                       "\xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd"};
constexpr std::string_view kCode[] = {
    "for (size_t i = 0; i < items.size(); ++i) total += items[i].price;\n",
    "if (user && user.name !== '') { return render(user); }\n",
    "def handler(event, context):\n    return {'statusCode': 200, 'body': json.dumps(event)}\n",
    "SELECT o.id, SUM(i.price) FROM orders o JOIN items i ON i.order_id = o.id GROUP BY o.id;\n",
    "func main() { fmt.Println(\"hello\", os.Args[1:]) }\n",
    "$ git commit -m \"fix: don't crash\" && git push origin main\n",
    "docker run --rm -it -v $(pwd):/src alpine:3.19 sh -c 'ls /src'\n",
    "<div class=\"card\"><h2>{{ title }}</h2><p>{{ body }}</p></div>\n",
    "body { margin: 0 auto; background: url(/img/a.png) }\n",
    "const f = async (x) => (await fetch(`/api/${x}`)).json();\n",
    "#include <vector>\nint main() { return std::vector<int>{1, 2}.size(); }\n",
    "public static void main(String[] args) { System.out.println(args.length); }\n",
    "<?xml version=\"1.0\"?><feed><entry>a</entry></feed>\n",
    "curl -s https://shop.test/api/v1/items | jq '.[] | .id'\n",
    "E = m * c ** 2  # physics\n",
    "regex: ^[a-z]+(?:-[a-z]+)*$\n"};
constexpr std::string_view kNames[] = {"q",       "page",         "name",       "comment",
                                       "email",   "address",      "items[]",    "lang",
                                       "sort_by", "filter.price", "utm_source", "수량",
                                       "token",   "user[bio]",    "redirect",   "description"};

template <typename List>
std::string sentence(Random& random, const List& list, std::string_view between = " ") {
  std::string text;
  for (std::size_t i = 0, n = 2 + random.below(12); i < n; ++i) {
    if (i > 0) text += between;
    text += pick(random, list);
  }
  return text;
}

std::string prose(Random& random) {
  switch (random.below(6)) {
    case 0:
      return sentence(random, kKorean);
    case 1:
      return sentence(random, kJapanese, "");
    case 2:
      return sentence(random, kChinese, "");
    case 3:
      return sentence(random, kEuropean);
    case 4:
      return sentence(random, kOther);
    default:
      return sentence(random, kEnglish);
  }
}

std::string mail(Random& random) {
  std::string text = fmt::format(
      "From: \"{}\" <anna{}@example.test>\nSubject: Re: {}\n\nOn Mon, {} Nov 2026, Bora wrote:\n",
      sentence(random, kEuropean), random.below(100), prose(random), 1 + random.below(28));
  for (std::size_t i = 0, n = 1 + random.below(4); i < n; ++i) text += "> " + prose(random) + "\n";
  return text + "\n" + prose(random) + "\n-- \nAnna, +82 2-" + std::to_string(random.below(10000)) +
         "-1234, https://shop.test/?a=1&b=2\n";
}

std::string letters(Random& random, std::string_view alphabet, std::size_t length) {
  std::string text;
  for (std::size_t i = 0; i < length; ++i) text += alphabet[random.below(alphabet.size())];
  return text;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const unsigned char c : text) {
    if (c == '"' || c == '\\')
      out += fmt::format("\\{}", static_cast<char>(c));
    else if (c < 0x20)
      out += fmt::format("\\u{:04x}", c);
    else
      out += static_cast<char>(c);
  }
  return out + "\"";
}

std::string json_value(Random& random, int depth) {
  const std::size_t kind = random.below(depth > 0 ? 8 : 5);
  if (kind == 0) return std::to_string(random.below(1'000'000));
  if (kind == 1) return random.one_in(2) ? "true" : "null";
  if (kind == 2) return fmt::format("-{}.{}e{}", random.below(100), random.below(100), 3);
  if (kind < 5) return quoted(benign_text(random));
  const bool object = kind >= 6;
  std::string text = object ? "{" : "[";
  for (std::size_t i = 0, n = random.below(5); i < n; ++i) {
    if (i > 0) text += ", ";
    if (object) text += quoted(benign_name(random)) + ": ";
    text += json_value(random, depth - 1);
  }
  return text + (object ? "}" : "]");
}

}  // namespace

std::string benign_text(Random& random) {
  constexpr std::string_view kBase64 =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  switch (random.below(11)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return prose(random);
    case 4:
      return mail(random);
    case 5: {
      std::string code(pick(random, kCode));
      if (random.one_in(2)) code += pick(random, kCode);
      return code;
    }
    case 6:
      return letters(random, kBase64, 8 + random.below(120));
    case 7:
      return fmt::format("https://{}.test/{}?id={}&ref=home#top", letters(random, "abcdefgh", 6),
                         letters(random, "abcdefgh/", 12), random.below(1000));
    case 8:
      return fmt::format("2026-{:02}-{:02}T{:02}:00:00+09:00", 1 + random.below(12),
                         1 + random.below(28), random.below(24));
    case 9: {  // a table
      std::string text = "id,name,price\n";
      for (std::size_t i = 0, n = 1 + random.below(5); i < n; ++i)
        text += fmt::format("{},\"{}\",{}.99\n", i, prose(random), random.below(100));
      return text;
    }
    default:
      return std::string(pick(random, benign_texts()));
  }
}

std::string benign_name(Random& random) { return std::string(pick(random, kNames)); }

std::string benign_bytes(Random& random) {
  constexpr std::string_view kHeads[] = {{"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16},
                                         {"PK\x03\x04\x14\0\0\0\x08\0", 10},
                                         {"\xff\xd8\xff\xe0\0\x10JFIF\0", 11},
                                         "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
                                         "id;name\n1;",
                                         "\xef\xbb\xbf# "};
  std::string bytes(pick(random, kHeads));
  const bool binary = random.one_in(2);
  for (std::size_t i = 0, n = random.below(400); i < n; ++i)
    bytes += static_cast<char>(binary ? random.below(256) : 0x20 + random.below(95));
  if (!binary) bytes += benign_text(random);
  return bytes;
}

std::string benign_json(Random& random) {
  std::string text = "{";
  for (std::size_t i = 0, n = 1 + random.below(8); i < n; ++i) {
    if (i > 0) text += ",";
    text += quoted(benign_name(random)) + ":" + json_value(random, 4);
  }
  return text + "}";
}

}  // namespace leeward::waf::compared
