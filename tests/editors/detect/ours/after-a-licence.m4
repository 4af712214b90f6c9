/* Licensed to whom it may concern.
   define(`this', `is a comment')
 */
// dnl so is this
mesh shop;
