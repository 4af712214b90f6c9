import "https.m4"; // the string holds no comment: "//"
