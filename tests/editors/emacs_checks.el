;;; emacs_checks.el --- what eglot gets from the server, in a real Emacs -*- lexical-binding: t; -*-
;; Run by test_emacs.py, which sets M4_WORKSPACE, M4_DETECT and M4_SERVER.

(require 'm4mesh)
(require 'flymake)

(setq m4mesh-server (getenv "M4_SERVER")
      eglot-sync-connect 60
      eglot-connect-timeout 120
      eglot-confirm-server-initiated-edits nil)

(defun checks-until (what condition)
  "Wait until CONDITION holds; fail with WHAT if it never does."
  (let ((end (+ (float-time) 60)) value)
    (while (and (not (setq value (funcall condition))) (< (float-time) end))
      (accept-process-output nil 0.05))
    (or value (error "Never happened: %s" what))))

(defun checks-say (text)
  (princ (format "ok: %s\n" text)))

(let ((detect (getenv "M4_DETECT")))
  (dolist (kind '("ours" "gnu"))
    (dolist (file (directory-files (expand-file-name kind detect) t "\\.m4\\'"))
      (with-current-buffer (find-file-noselect file)
        (unless (eq (derived-mode-p 'm4mesh-mode) (and (string= kind "ours") 'm4mesh-mode))
          (error "%s: %s" file major-mode))
        (kill-buffer)))))
(checks-say "only files of ours are claimed")

(find-file (expand-file-name "shop.m4" (getenv "M4_WORKSPACE")))
(unless (derived-mode-p 'm4mesh-mode) (error "Not claimed: %s" major-mode))
(call-interactively #'eglot)
(checks-until "a conflict"
              (lambda ()
                (flymake-start)
                (seq-some (lambda (d) (string-match-p "even.*contradict\\|contradict.*even" (flymake-diagnostic-text d)))
                          (flymake-diagnostics))))
(checks-say "the conflict is shown")

(goto-char (point-min))
(search-forward "policy send_")
(let ((hover (jsonrpc-request (eglot--current-server-or-lose) :textDocument/hover (eglot--TextDocumentPositionParams))))
  (unless (string-match-p "A fifth of what e sends" (format "%S" hover)) (error "Hover: %S" hover)))
(checks-say "hover")

(search-forward "r.Sp")
(let ((found (all-completions "Sp" (nth 2 (eglot-completion-at-point)))))
  (unless (equal (mapcar #'substring-no-properties found) '("Split")) (error "Completion: %S" found)))
(checks-say "completion")

(goto-char (point-min))
(search-forward "r.Split")
(unless (string-match-p "core.m4" (format "%S" (xref-backend-definitions 'eglot (xref-backend-identifier-at-point 'eglot))))
  (error "No definition"))
(checks-say "definition")

(m4mesh-evaluate "label" "")
(with-current-buffer "*M4 evaluation*"
  (unless (string-match-p "x-tier" (buffer-string)) (error "Evaluation: %s" (buffer-string))))
(checks-say "evaluation")

(goto-char (point-min))
(search-forward "v1: 80%, v2: 20%")
(replace-match "v1: 50%, v2: 50%" t t)
(eglot--signal-textDocument/didChange) ; which comes when Emacs is idle; in a batch it never is
(checks-until "no conflict"
              (lambda ()
                (flymake-start)
                (not (seq-some (lambda (d) (string-match-p "contradict" (flymake-diagnostic-text d))) (flymake-diagnostics)))))
(checks-say "an edit mends it")

(m4mesh-plan)
(with-current-buffer "*M4 plan*"
  (unless (string-match-p "mesh shop: " (buffer-string)) (error "Plan: %s" (buffer-string))))
(checks-say "plan of a text that is not saved")

(let ((answers '("Trust" "Into" "Deploy")) asked)
  (cl-letf (((symbol-function 'completing-read)
             (lambda (prompt choices &rest _)
               (push prompt asked)
               (let ((wanted (pop answers)))
                 (seq-find (lambda (choice) (string-prefix-p wanted choice))
                           (mapcar (lambda (c) (if (consp c) (car c) c)) choices))))))
    (m4mesh-deploy))
  (unless (= (length asked) 3) (error "Asked: %S" asked)))
(unless (file-exists-p (expand-file-name "out/manifest.json" (getenv "M4_WORKSPACE"))) (error "Nothing was deployed"))
(checks-say "deployed, after it was asked for trust, where and whether")

(set-buffer-modified-p nil)
(eglot-shutdown (eglot--current-server-or-lose))
(checks-say "the end")
