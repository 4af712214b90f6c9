;;; m4mesh.el --- M4, the language for service meshes, with eglot -*- lexical-binding: t; -*-

;; Package-Requires: ((emacs "28.1") (eglot "1.9"))

;;; Commentary:

;; A mode for M4 files, and what eglot has to know to start the language server.  The suffix `.m4' belongs to GNU m4,
;; too: a file is taken only if a declaration of M4 stands at the start of a line and no macro of GNU m4 before it.  The
;; rule is that of the extension of VS Code and of the plugin of Neovim; all three are tested on the same files.

;;; Code:

(require 'eglot)

(defgroup m4mesh nil
  "M4, the language for service meshes."
  :group 'languages)

(defcustom m4mesh-server "m4ls"
  "The language server: a program on the PATH, or its whole name.
A server that lies beside a file is never started by itself."
  :type 'string)

(defconst m4mesh--gnu
  (concat "^[ \t]*\\(?:dnl\\_>\\|\\(?:A[CMX]\\|AH\\|AS\\|AU\\|LT\\|PKG\\)_[A-Z]\\|m4_[a-z]"
          "\\|\\(?:define\\|undefine\\|ifdef\\|ifelse\\|s?include\\|un?divert\\|divert\\|changequote\\|changecom"
          "\\|pushdef\\|popdef\\|syscmd\\|esyscmd\\|VERSIONID\\|OSTYPE\\|MAILER\\|FEATURE\\)(\\)")
  "A line that only GNU m4 has.")

(defconst m4mesh--name "\\(?:[[:alnum:]_-]+\\|\"[^\"\n]*\"\\)"
  "A name in a declaration of M4.")

(defconst m4mesh--declaration
  (concat "^[ \t]*\\(?:@[[:alnum:]_]+\\(?:([^()\n]*)\\)?[ \t]*\\)*"
          "\\(?:\\(?:import\\|test\\)[ \t]*\""
          "\\|\\(?:mesh\\|spec\\|entity\\|enum\\)[ \t]+" m4mesh--name "[ \t]*\\(?:[{;]\\|over\\_>\\|extends\\_>\\|$\\)"
          "\\|\\(?:policy\\|template\\|apply\\)[ \t]+" m4mesh--name "[ \t]*\\(?:(\\|$\\)"
          "\\|state[ \t]+" m4mesh--name "[ \t]+" m4mesh--name "[ \t]*\\(?:[({;]\\|per\\_>\\|$\\)\\)")
  "A line that begins a declaration of M4.")

(defvar m4mesh-mode-syntax-table
  (let ((table (make-syntax-table)))
    (modify-syntax-entry ?/ ". 124b" table)
    (modify-syntax-entry ?* ". 23" table)
    (modify-syntax-entry ?\n "> b" table)
    (modify-syntax-entry ?_ "_" table)
    table)
  "Comments as in C, strings in double quotes.")

(defun m4mesh-file-p ()
  "Whether the file of this buffer ends in `.m4' and is a program of M4."
  (and buffer-file-name
       (string-suffix-p ".m4" buffer-file-name)
       (let ((head (buffer-substring-no-properties (point-min) (min (point-max) (+ (point-min) 65536))))
             (case-fold-search nil))
         (with-temp-buffer
           (set-syntax-table m4mesh-mode-syntax-table)
           (insert head)
           (goto-char (point-min))
           (let (start)
             (while (< (point) (point-max))
               (cond
                ((looking-at "\"") (or (ignore-errors (forward-sexp) t) (forward-char)))
                ((looking-at "/[/*]")
                 (setq start (point))
                 (if (forward-comment 1)
                     (progn
                       (when (eq (char-before) ?\n) (backward-char))
                       (delete-region start (point))
                       (insert " "))
                   (delete-region start (point-max))))
                (t (forward-char)))))
           (goto-char (point-min))
           (when (re-search-forward m4mesh--declaration nil t)
             (goto-char (match-beginning 0))
             (not (re-search-backward m4mesh--gnu nil t)))))))

(defconst m4mesh--keywords
  `((,(regexp-opt '("policy" "mesh" "spec" "entity" "enum" "state" "operation" "attribute" "condition" "test" "import"
                    "let" "on" "when" "overrides" "after" "at" "per" "over" "merge" "default" "emits" "writes" "reads"
                    "with" "if" "else" "group" "graph" "dataplanes" "propagate" "place" "cost" "tier" "supports"
                    "artifact" "context" "peer" "speaks" "protocols" "request" "expect")
                  'symbols)
     . font-lock-keyword-face)
    (,(regexp-opt '("ingress" "egress" "outside" "true" "false") 'symbols) . font-lock-constant-face)
    (,(regexp-opt '("in" "starts_with" "ends_with" "contains" "matches" "exists") 'symbols) . font-lock-builtin-face)
    ("\\_<policy[ \t]+\\([[:alnum:]_]+\\)" 1 font-lock-function-name-face)
    ("\\.\\([[:alpha:]][[:alnum:]_]*\\)[ \t]*(" 1 font-lock-function-name-face)
    ("@[[:alpha:]][[:alnum:]_]*" . font-lock-preprocessor-face)))

;;;###autoload
(define-derived-mode m4mesh-mode prog-mode "M4"
  "A mode for policies of service meshes."
  (setq-local comment-start "// ")
  (setq-local comment-end "")
  (setq-local comment-start-skip "//+[ \t]*")
  (setq-local indent-tabs-mode nil)
  (setq-local tab-width 4)
  (setq-local font-lock-defaults '(m4mesh--keywords)))

;; It comes before `auto-mode-alist', which gives every `.m4' to GNU m4.
;;;###autoload
(add-to-list 'magic-mode-alist '(m4mesh-file-p . m4mesh-mode))

(put 'm4mesh-mode 'eglot-language-id "m4")
(add-to-list 'eglot-server-programs
             `(m4mesh-mode . ,(lambda (&rest _) (list (expand-file-name (or (executable-find m4mesh-server) m4mesh-server))))))

(defun m4mesh--ask (command &rest arguments)
  "The answer of the server to COMMAND about the file of this buffer, with more ARGUMENTS."
  (eglot--signal-textDocument/didChange) ; eglot sends edits only after a while
  (let ((uri (eglot--path-to-uri buffer-file-name)))
    (jsonrpc-request (eglot--current-server-or-lose) :workspace/executeCommand
                     `(:command ,command :arguments ,(vconcat (list uri) arguments))
                     :timeout 600)))

(defun m4mesh--show (name text)
  "Show TEXT in a buffer called NAME."
  (with-current-buffer (get-buffer-create name)
    (let ((inhibit-read-only t))
      (erase-buffer)
      (insert text)
      (goto-char (point-min)))
    (special-mode)
    (display-buffer (current-buffer))))

(defun m4mesh-plan ()
  "Show which services get an element, which dataplane, and what it costs."
  (interactive)
  (m4mesh--show "*M4 plan*" (plist-get (m4mesh--ask "m4.plan") :text)))

(defun m4mesh-test ()
  "Run the tests of the mesh, and show what happened in those that fail."
  (interactive)
  (m4mesh--show "*M4 tests*" (plist-get (m4mesh--ask "m4.test") :text)))

(defun m4mesh-evaluate (policy request)
  "Show what a REQUEST gets; empty, the one that was last evaluated for POLICY, or one that the server proposes."
  (interactive (list (read-string "Policy: " (thing-at-point 'symbol t)) (read-string "Request (as in a test): ")))
  (m4mesh--show "*M4 evaluation*"
                (plist-get (apply #'m4mesh--ask "m4.evaluate" policy (if (string-empty-p request) nil (list request)))
                           :text)))

(defun m4mesh-deploy ()
  "Deploy the mesh: the server asks where to, says what would change, and asks again."
  (interactive)
  (let ((answer (m4mesh--ask "m4.deploy")))
    (unless (string-empty-p (or (plist-get answer :text) ""))
      (m4mesh--show "*M4 deployment*" (plist-get answer :text)))
    (message "M4: %s" (plist-get answer :message))))

(provide 'm4mesh)
;;; m4mesh.el ends here
