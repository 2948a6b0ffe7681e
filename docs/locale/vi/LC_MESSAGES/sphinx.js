// What the search says: of these Sphinx's own Vietnamese catalogue has empty texts.
Documentation.addTranslations({
    "locale": "vi",
    "messages": {
        "Search Results": "Kết quả tìm kiếm",
        "Searching": "Đang tìm",
        "Preparing search...": "Đang chuẩn bị tìm kiếm...",
        "Search finished, found one page matching the search query.": [
            "Tìm xong: ${resultCount} trang có những từ này."
        ],
        "Your search did not match any documents. Please make sure that all words are spelled correctly and that you've selected enough categories.": "Không trang nào có những từ này. Hãy xem lại chính tả của từng từ.",
        ", in ": ", trong ",
        "Hide Search Matches": "Bỏ tô màu các từ tìm được"
    },
    "plural_expr": "0"
});
