"""The Portuguese translation of each English text on the page."""

from __future__ import annotations

import re

LANGUAGES = {"en": "English", "pt": "Português"}

_PORTUGUESE = {
    "For research use. Not a medical device.": (
        "Para uso em pesquisa. Não é um dispositivo médico."
    ),
    # Outcomes, grades, and why somebody should look again
    "urgent": "urgente",
    "refer": "encaminhar",
    "repeat photographs": "repetir as fotografias",
    "no referral": "sem encaminhamento",
    "No DR": "Sem RD",
    "Mild NPDR": "RDNP leve",
    "Moderate NPDR": "RDNP moderada",
    "Severe NPDR": "RDNP grave",
    "Proliferative DR": "RD proliferativa",
    "ungradable": "não classificável",
    "no photograph": "sem fotografia",
    "low certainty": "pouca certeza",
    "photographs disagree": "as fotografias discordam",
    "unlike the training photographs": "diferente das fotografias de treinamento",
    "The eye is too small in the photograph.": "O olho está pequeno demais na fotografia.",
    "The photograph is too dark.": "A fotografia está escura demais.",
    "The photograph is overexposed.": "A fotografia está superexposta.",
    "The picture does not show a whole fundus.": "A imagem não mostra um fundo de olho inteiro.",
    "The picture has no colour, and only colour photographs can be graded.": (
        "A imagem não tem cor, e só fotografias coloridas podem ser classificadas."
    ),
    "The photograph is too blurred.": "A fotografia está desfocada demais.",
    "right eye": "olho direito",
    "left eye": "olho esquerdo",
    "virtually certain": "praticamente certo",
    "very likely": "muito provável",
    "likely": "provável",
    "about as likely as not": "tão provável quanto improvável",
    "unlikely": "improvável",
    "very unlikely": "muito improvável",
    # The list
    "Worklist": "Lista de trabalho",
    "Drop photographs or folders here": "Solte fotografias ou pastas aqui",
    "Photographs": "Fotografias",
    "DICOM files, or JPEG, PNG and TIFF": "Arquivos DICOM, ou JPEG, PNG e TIFF",
    "Choose files": "Escolher arquivos",
    "Choose a folder": "Escolher uma pasta",
    "Filters": "Filtros",
    "Show": "Mostrar",
    "to decide": "a decidir",
    "decided": "decididos",
    "all": "todos",
    "open": "a decidir",
    "Outcome": "Conduta",
    "any": "qualquer",
    "Patient's number": "Número do paciente",
    "Issuer of the number": "Emissor do número",
    "Search": "Buscar",
    "Worst first": "Piores primeiro",
    "Ungradable": "Não classificáveis",
    "Waiting": "Em espera",
    "waiting": "em espera",
    "graded": "classificados",
    "failed": "com falha",
    "No studies.": "Nenhum exame.",
    "no number": "sem número",
    "Received": "Recebido",
    "Suggested": "Sugestão",
    "Decision": "Decisão",
    "Export the list (CSV)": "Exportar a lista (CSV)",
    "Page": "Página",
    "previous": "anterior",
    "next": "próxima",
    "Another program grades these studies.": "Outro programa classifica estes exames.",
    "Open": "Abrir",
    "Patient": "Paciente",
    # A study
    "Study": "Exame",
    "Back to the list": "Voltar à lista",
    "Previous study": "Exame anterior",
    "Next study": "Próximo exame",
    "Zoom in": "Ampliar",
    "Zoom out": "Reduzir",
    "Whole eye": "Olho inteiro",
    "Full resolution": "Resolução total",
    "Brightness": "Brilho",
    "Red-free": "Sem vermelho",
    "Both eyes": "Os dois olhos",
    "Photograph": "Fotografia",
    "photographs": "fotografias",
    "gradable": "classificáveis",
    "Grade": "Grau",
    "Eye": "Olho",
    "Probabilities": "Probabilidades",
    "of 100": "de 100",
    "Look again": "Olhe de novo",
    "The grade does not cover macular oedema.": "O grau não abrange o edema macular.",
    "How often the suggestion is right": "Com que frequência a sugestão está certa",
    "Eyes that should be flagged": "Olhos que devem ser assinalados",
    "Promised sensitivity": "Sensibilidade prometida",
    "Sensitivity in a test": "Sensibilidade em um teste",
    "Specificity in a test": "Especificidade em um teste",
    "Photographs in the test": "Fotografias no teste",
    "none": "nenhuma",
    "not tested": "não testada",
    "Sensitivity is the share of the photographs of these eyes that the grader flags. Specificity "
    "is the share of the photographs of other eyes that it does not flag. The brackets are 95 % "
    "intervals. Expect lower values on other cameras.": (
        "A sensibilidade é a proporção das fotografias desses olhos que o programa assinala. A "
        "especificidade é a proporção das fotografias dos outros olhos que ele não assinala. Os "
        "parênteses são intervalos de 95 %. Espere valores menores com outras câmeras."
    ),
    "Accept": "Aceitar",
    "Refer": "Encaminhar",
    "Overrule": "Discordar",
    "Undo": "Desfazer",
    "accept": "aceito",
    "overrule": "discordância",
    "Reason": "Motivo",
    "as graded": "como classificado",
    "Decided by": "Decidido por",
    "nobody has decided yet": "ninguém decidiu ainda",
    "Export": "Exportar",
    "The photographs are being graded.": "As fotografias estão sendo classificadas.",
    "The study could not be graded.": "O exame não pôde ser classificado.",
    "Severity of diabetic retinopathy": "Gravidade da retinopatia diabética",
    "Your role can look, but not decide.": "Seu papel pode ver, mas não decidir.",
    "Erase the patient": "Apagar o paciente",
    "Delete every photograph and result of this patient from these records": (
        "Excluir destes registros todas as fotografias e resultados deste paciente"
    ),
    "Keyboard": "Teclado",
    "zoom": "ampliação",
    "brightness": "brilho",
    "next or previous study": "próximo exame ou anterior",
    "accept, refer, overrule, undo": "aceitar, encaminhar, discordar, desfazer",
    # What is sent
    "Sent on": "Enviado",
    "archive": "arquivo de imagens",
    "FHIR server": "servidor FHIR",
    "queued": "na fila",
    "delivered": "entregues",
    "refused": "recusados",
    "Nothing of this study is sent to an archive or a server.": (
        "Nada deste exame é enviado a um arquivo ou servidor."
    ),
    # The audit log
    "Audit log": "Registro de auditoria",
    "Number of entries, of which none was changed:": (
        "Número de entradas, das quais nenhuma foi alterada:"
    ),
    "The last hash is": "O último hash é",
    "The newest entries": "As entradas mais novas",
    "Number": "Número",
    "When": "Quando",
    "Who": "Quem",
    "Action": "Ação",
    "Subject": "Objeto",
    "Details": "Detalhes",
    # Signing in, and errors
    "Sign in": "Entrar",
    "Sign out": "Sair",
    "Name": "Nome",
    "Password": "Senha",
    "Language": "Idioma",
    "The name or the password is wrong.": "O nome ou a senha está errado.",
    "Too many wrong passwords. Wait a minute.": "Senhas erradas demais. Espere um minuto.",
    "That did not work": "Isso não funcionou",
    "There is no such page.": "Esta página não existe.",
    "Sign in first.": "Entre primeiro.",
    "The request was not understood.": "O pedido não foi entendido.",
    "Your role does not allow it.": "Seu papel não permite isso.",
    "The page is out of date. Load it again.": "A página está desatualizada. Carregue-a de novo.",
    "The study has changed since you opened it; look at the study again, then decide.": (
        "O exame mudou desde que você o abriu; olhe de novo e decida então."
    ),
    "To overrule, give a reason.": "Quem discorda dá um motivo.",
    "You chose the suggested outcome and changed no grade; choose another outcome or grade, "
    "or accept.": ("A conduta e os graus são os sugeridos; escolha outros, ou aceite."),
    "A reason has at most 1000 characters.": "Um motivo tem no máximo 1000 caracteres.",
    "The reason has characters that cannot be shown.": (
        "O motivo tem caracteres que não podem ser mostrados."
    ),
    "The patient is erased only if you confirm it.": ("O paciente só é apagado se você confirmar."),
    "Too many requests. Wait a moment.": "Pedidos demais. Espere um momento.",
    "The request took too long to arrive.": "O pedido demorou demais para chegar.",
    "A photograph must be sent in a form (multipart/form-data).": (
        "Uma fotografia é enviada como formulário."
    ),
    "The form is damaged.": "O formulário está danificado.",
    "The form has no photograph.": "O formulário não tem fotografia.",
    "The file's name has a path in it.": "O nome do arquivo contém um caminho.",
    "The data are deleted, but the database's log file still contains some of them; end the "
    "other programs that use the records, and erase again.": (
        "Os dados foram apagados, mas um arquivo do banco de dados ainda tem alguns dos seus "
        "bytes; encerre os outros programas que usam os registros e apague de novo."
    ),
    "The disk has too little free space.": "O disco tem pouco espaço livre.",
    "A photograph is missing; restore the folder from a backup, or send the study from the camera "
    "again; then run `drdeploy clinic studies --again`.": (
        "Falta uma fotografia; restaure a pasta a partir de uma cópia de segurança, ou envie o "
        "exame de novo a partir da câmera; execute então `drdeploy clinic studies --again`."
    ),
    "A photograph has changed on the disk; restore the folder from a backup, or send the study "
    "from the camera again; then run `drdeploy clinic studies --again`.": (
        "Uma fotografia foi alterada no disco; restaure a pasta a partir de uma cópia de "
        "segurança, ou envie o exame de novo a partir da câmera; execute então `drdeploy clinic "
        "studies --again`."
    ),
    "A photograph cannot be read.": "Uma fotografia não pode ser lida.",
    "Another photograph has the same SOP Instance UID.": (
        "Outra fotografia tem o mesmo SOP Instance UID."
    ),
    "A patient's number has at most 64 printable characters, and no backslash.": (
        "O número de um paciente tem no máximo 64 caracteres visíveis, sem barra invertida."
    ),
    "The photograph could not be kept. Send it again later.": (
        "A fotografia não pôde ser guardada. Envie-a de novo mais tarde."
    ),
    "The program could not answer. The administrator finds the cause in the log.": (
        "O programa não conseguiu responder. O administrador encontra a causa no registro."
    ),
    "No program grades these studies. The program that graded them has ended; start it again.": (
        "Nenhum programa classifica estes exames. O programa que os classificava terminou; "
        "inicie-o de novo."
    ),
    "Photographs that cannot be read from the disk, and are not shown:": (
        "Fotografias que não podem ser lidas do disco e não são mostradas:"
    ),
    "Frames that are not shown, because their files have too many frames:": (
        "Imagens que não são mostradas, porque os seus arquivos têm imagens demais:"
    ),
    "Studies that are not erased, because another issuer gave their patient number:": (
        "Exames com o mesmo número de outro emissor, que ficam:"
    ),
    "Skip to the content": "Ir para o conteúdo",
    # The script
    "Sending": "Enviando",
    "not sent": "não enviado",
    "Send": "Enviar",
    "Leave out": "Deixar de fora",
    "Which patient and which eye is it?": "De qual paciente e de qual olho é?",
    "The photograph is too large.": "A fotografia é grande demais.",
    "The program cannot be reached.": "O programa não responde.",
    "The file or folder cannot be read.": "O arquivo ou a pasta não pode ser lido.",
    "files sent": "arquivos enviados",
    "answers needed": "respostas necessárias",
}

_PORTUGUESE_REASONS = {
    # Why a study could not be graded
    "The program ended while it graded this study, and all {} attempts failed.": (
        "O programa terminou enquanto classificava este exame, e nenhuma de {} tentativas deu "
        "certo."
    ),
    "An error kept this study from being graded: {}.": (
        "Um erro impediu a classificação deste exame: {}."
    ),
    "The endpoint gives no grade: {}; check the endpoint and its log, then run `drdeploy clinic "
    "studies --again`.": (
        "O endpoint não dá um grau: {}; verifique o endpoint e o seu registro e execute `drdeploy "
        "clinic studies --again`."
    ),
    "The endpoint's answer does not come from a drdeploy container; give an endpoint that "
    "`drdeploy "
    "endpoint deploy` made.": (
        "A resposta do endpoint não vem de um contêiner do drdeploy; use um endpoint criado por "
        "`drdeploy endpoint deploy`."
    ),
    "The endpoint's model is not the one in the artifact; with --artifact, give the model that the "
    "endpoint serves.": (
        "O modelo do endpoint não é o do artefato; indique com --artifact o modelo que o endpoint "
        "serve."
    ),
    "The endpoint gives neither a grade nor a reason.": (
        "O endpoint não diz por que não dá um grau."
    ),
    "The photograph has {} bytes as a JPEG, and an endpoint takes at most {}; grade the "
    "photograph on this machine, without --endpoint.": (
        "A fotografia tem {} bytes como JPEG, e um endpoint aceita no máximo {}; classifique-a "
        "nesta máquina, sem --endpoint."
    ),
    # Why a photograph has no grade
    "The frame was not read, because frame {} of its file cannot be decoded.": (
        "A imagem não foi lida, porque a imagem {} do mesmo arquivo não pode ser decodificada."
    ),
    # Why an archive or a server did not accept something
    "The archive refuses the file with failure reason {}.": (
        "O arquivo de imagens recusa o objeto com o motivo {}."
    ),
    "The archive refuses the file with status {}.": (
        "O arquivo de imagens recusa o objeto com o status {}."
    ),
    "The archive does not accept {} with the transfer syntax {}.": (
        "O arquivo de imagens não aceita {} em {}."
    ),
    "The archive answers with status {}; check the archive's log, and run the same command "
    "again.": (
        "O arquivo de imagens responde com o status {}; verifique o seu registro. O programa "
        "tenta de novo mais tarde."
    ),
    "The archive answers with status {}; set {} to the value of the header Authorization, for "
    "example {}.": (
        "O arquivo de imagens responde com o status {}; dê a {} o valor do cabeçalho, por exemplo "
        "{}."
    ),
    "The archive {}; check the archive's address and AE title, and that the archive knows "
    "DRDEPLOY.": (
        "O arquivo de imagens {}; verifique o seu endereço, o seu AE title e se ele conhece "
        "DRDEPLOY."
    ),
    "The archive has no space at the moment; free space in the archive; the file is sent again.": (
        "O arquivo de imagens não tem espaço no momento; libere espaço nele; o objeto é enviado de "
        "novo."
    ),
    "The FHIR server refuses a bundle with status {}; find the cause in the server's log, then "
    "send the bundle again; nothing is created twice.": (
        "O servidor FHIR recusa os resultados com o status {}; procure a causa no registro do "
        "servidor e envie os resultados de novo; nada é criado duas vezes."
    ),
    "The FHIR server refuses a bundle with status {}.": (
        "O servidor FHIR recusa os resultados com o status {}."
    ),
    "The exchange with the {} failed: {}; check the address, and run the same command again later; "
    "nothing is created twice.": (
        "A troca com o {} falhou: {}. Verifique o endereço. O programa tenta de novo mais tarde; "
        "nada é criado duas vezes."
    ),
    "The {} answers with more than {} bytes.": "O {} responde com mais de {} bytes.",
    "The value of the header Authorization has characters that no header may have; set it to one "
    "line of ASCII, for example `Basic`, a space and the encoded credentials.": (
        "O valor do cabeçalho tem caracteres que nenhum cabeçalho pode ter; use uma linha de "
        "ASCII, por exemplo Basic e as credenciais codificadas."
    ),
    "The study cannot be sent: {}.": "O exame não pode ser enviado: {}.",
    # Parts of them
    "cannot be reached": "não responde",
    "does not accept the AE title of this program or of the archive": (
        "não aceita o AE title deste programa ou o do arquivo de imagens"
    ),
    "ends the association without an answer": "encerra a associação sem responder",
    "has no space at the moment": "não tem espaço no momento",
    "its answer is not HTTP": "a sua resposta não é HTTP",
    "its answer ends too early": "a sua resposta termina cedo demais",
    "it took more than {} seconds": "levou mais de {} segundos",
    "timed out": "o tempo esgotou",
    "Connection refused": "a conexão foi recusada",
    "Connection reset by peer": "a conexão foi interrompida",
    "Name or service not known": "o nome do servidor não é conhecido",
    "No route to host": "não há caminho até o servidor",
    "Network is unreachable": "a rede não responde",
    "Remote end closed connection without response": "o servidor fechou a conexão sem responder",
}
"""The sentences about failures in the records; ``{}`` stands for the part that varies."""


def _compile_text_with_placeholders(template: str) -> re.Pattern[str]:
    return re.compile("(.+?)".join(map(re.escape, template.split("{}"))))


_REASONS = [
    (_compile_text_with_placeholders(english), words)
    for english, words in _PORTUGUESE_REASONS.items()
]

SENTENCES_OF_HTTP = {
    "Not Found": "There is no such page.",
    "Unauthorized": "Sign in first.",
    "Bad Request": "The request was not understood.",
    "Method Not Allowed": "The request was not understood.",
    "Request Timeout": "The request took too long to arrive.",
    "Too Many Requests": "Too many requests. Wait a moment.",
}
"""The page's sentences for HTTP statuses."""

TEXTS_OF_SCRIPT = (
    "not sent", "Send", "Leave out", "right eye", "left eye", "Which patient and which eye is it?",
    "Patient's number", "Eye", "The program cannot be reached.", "files sent", "answers needed",
    "The file or folder cannot be read.",
)  # fmt: skip
"""The strings that the script shows."""


def translate_page_text(text: str, language: str) -> str:
    """Return a string of the page in a language; a string without a translation stays English."""
    if language != "pt":
        return text
    return _PORTUGUESE.get(text) or _translate_reason_of_failure(text) or text


def _translate_reason_of_failure(text: str) -> str:
    """Return the reason of a failure in Portuguese; empty if there is no translation."""
    for pattern, words in _REASONS:
        found = pattern.fullmatch(text)
        if found is not None:
            parts = (translate_page_text(part, "pt") for part in found.groups())
            # str.format is not used, because the text of another program may contain braces.
            head, *rest = words.split("{}")
            return head + "".join(
                f"{part}{after}" for part, after in zip(parts, rest, strict=False)
            )
    return ""
